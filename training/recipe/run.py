"""What does one reproducible run consist of?

A recipe is one TOML file with the tables of `Recipe`. Types are strict and closed: an unknown key is refused with
the nearest known one. A recipe without `[data]` imports its encoder as it is. Paths may hold `${VARIABLES}`.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from app.bundle.manifest import Name
from training.recipe.conflicts import conflicts
from training.recipe.data import Data, RowsData
from training.recipe.encoder import AnyEncoder
from training.recipe.heads import EmbedTask, HeadTable
from training.recipe.losses import LOSSES, LossTable
from training.recipe.more_heads import MoreHead
from training.recipe.settings import BudgetTable, ExportTable, HardwareTable, OptimTable
from training.recipe.stages import StageTable, stage_conflicts
from training.recipe.table import Table
from training.recipe.teacher import TeacherTable


class Recipe(Table):
    """One run, from data to bundle."""

    name: Name
    description: str = ""
    seed: int = Field(default=7, ge=0)
    threads: int | None = Field(default=None, ge=1)  # torch threads; None: all cores
    encoder: AnyEncoder
    head: HeadTable
    data: Data | None = None
    loss: LossTable | None = None
    more_heads: list[MoreHead] = Field(default=[])  # over the same encoder; the one above is the primary
    teacher: TeacherTable | None = None
    optim: OptimTable = OptimTable()
    budget: BudgetTable = BudgetTable()
    hardware: HardwareTable = HardwareTable()
    export: ExportTable = ExportTable()
    track: list[Literal["tensorboard", "mlflow", "wandb", "trackio"]] = Field(default=[])  # who else is told figures
    baselines: bool = False  # also report tf-idf + linear and frozen encoder + logistic regression on the same rows
    probes: str | None = None  # a JSONL of {"text", "label"} beside the recipe: sentences no template yields
    stages: list[StageTable] = Field(default=[])  # instead of one `loss`: several, one after the other

    @model_validator(mode="after")
    def _tables_fit_together(self) -> Self:
        if (self.data is None) != (self.loss is None and not self.stages):
            raise ValueError(
                "`data` and `loss` (or `stages`) come together: without both, the encoder is imported as it is"
            )
        if self.data is None and self.more_heads:
            raise ValueError("`more_heads` learn, and without `data` and `loss` nothing does: leave them out")
        if self.data is None and self.head.task != "embed":
            raise ValueError("without `data` only an embed head can be exported")
        if self.data is None and self.teacher is not None:
            raise ValueError("`teacher` teaches, and without `data` and `loss` nothing is trained: leave it out")
        if self.data is None and self.encoder.kind != "pretrained":
            raise ValueError(
                f'`encoder.kind = "{self.encoder.kind}"` and a recipe without `data` disagree: its weights are fresh'
            )
        wanted = LOSSES[self.head.rows]
        if self.loss is not None and self.loss.name not in wanted:
            names = " or ".join(map(repr, wanted))
            raise ValueError(f"a head for {self.head.rows} trains with loss {names}, not {self.loss.name!r}")
        if self.data is None and isinstance(self.head, EmbedTask) and self.head.cuts:
            raise ValueError("`head.cuts` are trained, and without `data` and `loss` nothing is: leave them out")
        if found := list(stage_conflicts(self) if self.stages else conflicts(self)):
            raise ValueError("; ".join(found))
        return self

    def alone(self, more: MoreHead) -> "Recipe":
        """The run as if `more` were its only head: its own data, or its column of the primary rows."""
        data = more.data
        if more.column is not None:
            assert isinstance(self.data, RowsData)  # others have no columns: conflicts.py
            answer = {more.head.answer_column: more.column}
            data = self.data.model_copy(update={"columns": self.data.columns.model_copy(update=answer)})
        return self.model_copy(update={"head": more.head, "loss": more.loss, "data": data, "more_heads": []})
