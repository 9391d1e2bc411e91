"""Which model shall a run learn from, beside its data?"""

from typing import Literal, Self

from pydantic import Field, model_validator

from training.recipe.table import Table


class TeacherTable(Table):
    """A model whose answers to the texts of train are learned (training/objectives/teacher.py)."""

    source: str  # of vectors: an encoder or a bundle; of logits: a bundle, by its folder
    learns: Literal["vectors", "logits"] = "vectors"
    weight: float = Field(default=0.5, gt=0, le=1)  # of its loss, the rest is that of `[loss]`; 1: the teacher alone
    temperature: float = Field(default=2.0, gt=0)  # of logits: the higher, the more the improbable labels say

    @model_validator(mode="after")
    def _temperature_is_of_logits(self) -> Self:
        if self.learns == "vectors" and "temperature" in self.changed():
            raise ValueError('`temperature` is of learns = "logits"; leave it out')
        return self
