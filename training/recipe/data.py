"""Where do the rows of a run come from?"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.bundle.manifest import Sha256
from training.recipe.table import Table


class Columns(Table):
    """Which column of a row is what. Classification reads `text` and `label`, which is a list for a multi-label head, a
    regression `text` and `value`, and both read `vector` in place of `text` where it is named; embedding reads `text`,
    `positive` and, where they are named, `negative` and `score`: how alike `text` and `positive` are.
    """

    text: str = "text"
    label: str = "label"
    value: str = "value"
    positive: str = "positive"
    negative: str | None = None
    score: str | None = None
    vector: str | None = None  # numbers instead of a text: a list of them, or a list of such lists (in CSV, as JSON)


class RowsData(Table):
    """What rows from files and from a data set have in common. Without `dev` or `test`, shares of `train` are split off
    by a hash of the text, so that a row keeps its split when others come and go.
    """

    dev: str | None = None
    test: str | None = None
    dev_share: float = Field(default=0.1, ge=0, lt=0.5)  # 0: no dev rows, so nothing is chosen or calibrated by them
    test_share: float = Field(default=0.1, gt=0, lt=0.5)
    columns: Columns = Columns()
    as_published: bool = False  # rows that stand there twice stay, and a text under two labels is no fault
    apart_from: list[Literal["dev", "test"]] = Field(
        default=[]
    )  # train rows that share any single text with these are left out
    slices: list[str] = Field(default=[])  # columns by whose values the figures of test are told apart
    one_label_only: bool = False  # rows whose label is a list of several are left out, not refused
    label_separator: str | None = Field(default=None, min_length=1)  # multi-label: what parts the labels of a text, "|"
    per_label: int | None = Field(default=None, ge=1)  # few-shot: train on so many rows of each label
    draw_seed: int = 7  # which of them
    origin: str = ""  # who made the data and under which licence, for the model card

    @property
    def has_dev(self) -> bool:
        """Whether there are rows to choose and to calibrate by."""
        return self.dev is not None or self.dev_share > 0

    @model_validator(mode="after")
    def _draws_are_whole(self) -> Self:
        if self.per_label is None and "draw_seed" in self.changed():
            raise ValueError("`draw_seed` says which rows `per_label` draws, which is not there; leave it out")
        if self.dev is not None and self.dev_share == 0:
            raise ValueError("`dev` and `dev_share = 0` disagree: is there a dev split or not?")
        return self

    @model_validator(mode="after")
    def _published_is_named(self) -> Self:
        if self.as_published and self.test is None:
            raise ValueError("`as_published` needs `test`: without it the test rows are split off from `train` here")
        return self


class FileData(RowsData):
    """Rows from CSV, TSV, JSONL or Parquet files (also .gz)."""

    source: Literal["files"]
    train: str
    corpus: str | None = None  # an embedder's: a file of texts among which, too, the positives of test shall be found
    sha256: dict[str, Sha256] = Field(default={})  # by file name: refuse other bytes


class DatasetData(RowsData):
    """Rows from a Hugging Face data set id, through `datasets`."""

    source: Literal["dataset"]
    id: str
    config: str | None = None
    revision: str | None = None
    train: str = "train"


class HomeIntentsData(Table):
    """Sentences sampled from the templates of the packages `home-assistant-intents` and `hassil`."""

    source: Literal["home-assistant-intents"]
    language: str = "en"
    rows: int = Field(default=4000, ge=100)  # training rows drawn round-robin over the intents
    per_template: int = Field(default=30, ge=1)
    rare_to: int = Field(default=24, ge=1)  # intents with fewer rows are repeated up to this many
    held_out: int = Field(default=5, ge=2)  # one template in this many goes to the test split
    split_seed: int = 7
    origin: str = ""


class DigitsData(Table):
    """The 1,797 images of handwritten digits that scikit-learn has installed, 8 × 8 numbers from 0 to 16."""

    source: Literal["digits"]
    rows: Literal["vectors", "sequences"] = "vectors"  # 64 numbers an image, or its 8 rows of 8, one after the other
    dev_share: float = Field(default=0.1, gt=0, lt=0.5)
    test_share: float = Field(default=0.2, gt=0, lt=0.5)
    origin: str = (
        "UCI Optical Recognition of Handwritten Digits, test set (Alpaydin & Kaynak 1998; CC BY 4.0), in scikit-learn"
    )


Data = Annotated[FileData | DatasetData | HomeIntentsData | DigitsData, Field(discriminator="source")]


def reads_vectors(data: Data) -> bool:
    """Whether its rows are numbers and not texts."""
    return isinstance(data, DigitsData) or (isinstance(data, RowsData) and data.columns.vector is not None)
