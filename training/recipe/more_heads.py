"""Which heads learn beside the primary one, and of which rows?"""

from typing import Self

from pydantic import Field, field_validator, model_validator

from training.recipe.data import Data
from training.recipe.heads import ClassifyTask
from training.recipe.losses import LOSSES, LossTable
from training.recipe.table import Table


class MoreHead(Table):
    """A head that learns together with the primary one, over the same encoder: of another column of the same rows, or
    of rows of its own.
    """

    head: ClassifyTask
    loss: LossTable
    weight: float = Field(default=1.0, gt=0)  # of its loss, and of its metric on dev; the primary head has 1
    column: str | None = None  # of the primary rows: its label, labels or value
    data: Data | None = None

    @field_validator("head", mode="before")
    @classmethod
    def _is_no_embed_head(cls, value: object) -> object:
        if isinstance(value, dict) and value.get("task") == "embed":
            raise ValueError('should have `task = "classify"`: every bundle offers the vector under its heads already')
        return value

    @model_validator(mode="after")
    def _tables_fit_together(self) -> Self:
        if (self.column is None) == (self.data is None):
            raise ValueError("`column` (of the primary rows) or `data` (rows of its own): one of the two is needed")
        wanted = LOSSES[self.head.rows]
        if self.loss.name not in wanted:
            names = " or ".join(map(repr, wanted))
            raise ValueError(f"a head for {self.head.rows} trains with loss {names}, not {self.loss.name!r}")
        return self
