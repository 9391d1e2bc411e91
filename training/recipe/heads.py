"""What does the model answer?"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.bundle.manifest import Name, ScopeScore
from training.recipe.table import Table

RowKind = Literal["embed", "classify", "multi_label", "regression"]  # what a row of data tells beside its text
ProblemType = Literal["single_label", "multi_label", "regression"]

VALUE = "value"  # the name of what a regression gives
TRUNK_HEAD = "embedding"  # the vector that every classifier offers beside its labels


def logits_name(head_name: str) -> str:
    """The output that holds the logits of a head: a name that every runtime and file takes."""
    return "logits_" + head_name.replace("-", "_").replace(".", "_")


class EmbedTask(Table):
    """Train or import the pooled vector itself."""

    task: Literal["embed"]
    name: Name = "embedding"
    normalize: bool = True
    # Train the first so many numbers as vectors of their own (Matryoshka).
    cuts: list[Annotated[int, Field(ge=1)]] = Field(default=[])

    @property
    def rows(self) -> RowKind:
        """What its rows of data tell."""
        return "embed"


class ScopeTable(Table):
    """Which texts fit no label: those whose score is under a threshold. A number in its place is the threshold of
    `max_probability`, the best probability.
    """

    score: ScopeScore | None = None  # None: the one that tells rows of `label` apart best on dev
    label: str | None = None  # rows of this label fit none: never trained; they choose the score, and judge it on test
    false_alarms: float = Field(default=0.05, gt=0, lt=0.5)  # the share of dev rows that the threshold turns away
    threshold: float | None = None  # instead of `false_alarms`

    @model_validator(mode="before")
    @classmethod
    def _of_a_number(cls, value: object) -> object:
        return {"score": "max_probability", "threshold": value} if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Self:
        if self.score is None and self.label is None:
            raise ValueError("`score`, or the `label` of rows to choose one by, is missing")
        if self.score is None and self.threshold is not None:
            raise ValueError("`threshold` is a number of one `score`; name it, or leave `threshold` out")
        if self.threshold is not None and "false_alarms" in self.changed():
            raise ValueError("`threshold` and `false_alarms` both say where the line is; leave one out")
        if self.score == "max_probability" and not 0 <= (self.threshold or 0) <= 1:
            raise ValueError("the threshold of a probability should be from 0 to 1")
        return self


class ClassifyTask(Table):
    """Train one linear layer over the pooled vector, and the encoder with it."""

    task: Literal["classify"]
    name: Name = "label"
    problem_type: ProblemType = "single_label"  # one label a text, any number of them, or a number
    dropout: float = Field(default=0.1, ge=0, lt=1)
    out_of_scope: ScopeTable | None = None
    # Of conformal sets, fitted on dev.
    coverages: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default=[0.9, 0.95, 0.99])

    @property
    def rows(self) -> RowKind:
        """What its rows of data tell."""
        return "classify" if self.problem_type == "single_label" else self.problem_type

    @property
    def answer_column(self) -> str:
        """Which of the columns of data holds what it learns."""
        return VALUE if self.problem_type == "regression" else "label"

    def outputs(self, labels: Sequence[str]) -> list[str]:
        """What the numbers that it gives stand for: the labels of the data, or the value itself."""
        return [VALUE] if self.problem_type == "regression" else list(labels)


HeadTable = Annotated[EmbedTask | ClassifyTask, Field(discriminator="task")]
