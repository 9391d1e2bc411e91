"""What is a row, and what does a source hand to training?

Invariants: `where` leads a person back to the line; for every split rows in = used + rejected + deduplicated + left
out, and `used` is the number of rows in the list (a row drawn twice counts twice on both sides).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.bundle.vectors import Floats
from training.data.findings import Check, Finding


@dataclass(frozen=True, slots=True)
class Row:
    """One line of data.

    Its input is `text`, or `vector`, float32 [F] or [T, F], beside which `text` is empty.

    `where` is `file.jsonl:12`, or the template a sentence comes from. Classification has `label`, multi-label
    classification `labels`, sorted and perhaps none, a regression `value`; embedding has `positive` and perhaps
    `negative` or a `score` of how alike both are. Rows of one `group` never stand in two splits. `slices`: of a test
    row, its value in each column of `Splits.slices`.
    """

    text: str
    where: str
    label: str | None = None
    positive: str | None = None
    negative: str | None = None
    group: str | None = None
    labels: tuple[str, ...] | None = None
    value: float | None = None
    slices: tuple[str, ...] = ()
    score: float | None = None
    vector: Floats | None = field(default=None, compare=False)

    @property
    def input(self) -> str | Floats:
        """What a model reads of the row."""
        return self.text if self.vector is None else self.vector

    @property
    def inputs(self) -> Sequence[str | Floats]:
        """Everything that a model may read of the row."""
        return self.texts if self.vector is None else [self.vector]

    @property
    def texts(self) -> list[str]:
        """Every single text of the row, `text` first; a row of numbers has none."""
        if self.vector is not None:
            return []
        return [text for text in (self.text, self.positive, self.negative) if text is not None]

    @property
    def answer(self) -> str | tuple[str, ...] | float | None:
        """What is right of the row: its label, all its labels, its value or its score; None where it has no such."""
        if self.value is not None or self.score is not None:
            return self.score if self.value is None else self.value
        return self.label if self.labels is None else self.labels

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Its labels, be they one, several or none."""
        return self.labels or (() if self.label is None else (self.label,))


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the rows of one split. `left_out`: because the recipe asks for it.

    Raises:
        ValueError: the counts do not add up.
    """

    rows_in: int
    used: int
    rejected: int
    deduplicated: int
    left_out: int = 0

    def __post_init__(self) -> None:
        if self.rows_in != self.used + self.rejected + self.deduplicated + self.left_out:
            raise ValueError(f"rows do not add up: {self}")

    def __str__(self) -> str:
        left_out = f" + {self.left_out:,} left out" if self.left_out else ""
        return (
            f"{self.rows_in:,} rows in = {self.used:,} used + {self.rejected:,} rejected"
            f" + {self.deduplicated:,} deduplicated{left_out}"
        )


@dataclass(frozen=True, slots=True)
class Splits:
    """The data of one run.

    `labels` is sorted, and empty for embedding. `digests` says which bytes these are: file name → sha256, or
    package → version. `origin` is who made the data and under which licence. `findings` are places that a person
    should look at. `as_published`: no row was taken out for being there twice. `outside`, by split, are rows that fit
    no label: never trained, they choose and judge what is out of scope. `corpus`: other texts, among
    which an embedder shall find the positives of test. `slices`: columns by whose values figures are told apart.
    """

    train: list[Row]
    dev: list[Row]
    test: list[Row]
    labels: list[str]
    counts: dict[str, Counts]
    digests: dict[str, str] = field(default_factory=dict)
    origin: str = ""
    findings: Mapping[Check, Sequence[Finding]] = field(default_factory=dict)
    as_published: bool = False
    outside: dict[str, list[Row]] = field(default_factory=dict)
    corpus: list[str] = field(default_factory=list)
    slices: tuple[str, ...] = ()

    @property
    def is_of_vectors(self) -> bool:
        """Whether the rows are numbers."""
        return bool(self.train) and self.train[0].vector is not None


def normal(text: str) -> str:
    """The text by which two rows are the same: casefolded, blanks squeezed."""
    return " ".join(text.split()).casefold()
