"""What does training make smaller?"""

from typing import Literal, Self

from pydantic import Field, model_validator

from training.recipe.heads import RowKind
from training.recipe.table import Table

SCORED_LOSSES = ("cosent", "angle")  # of pairs with a score
PAIR_LOSSES = ("in_batch_negatives", "supervised_contrastive")  # those that stages can learn from labelled rows with
BATCH_LOSSES = (*PAIR_LOSSES, *SCORED_LOSSES)  # they compare the rows of a batch: it cannot be taken in parts
LOSSES: dict[RowKind, tuple[str, ...]] = {  # the first is the usual one
    "embed": ("in_batch_negatives", "triplet", *SCORED_LOSSES),
    "classify": ("cross_entropy", "focal"),
    "multi_label": ("binary_cross_entropy",),
    "regression": ("mse", "huber"),
}
LOSS_KEYS = {
    "cross_entropy": {"label_smoothing", "class_weights", "contrastive_share", "temperature"},
    "focal": {"gamma", "class_weights", "contrastive_share", "temperature"},
    "binary_cross_entropy": {"class_weights"},
    "mse": set(),
    "huber": {"delta"},
    "in_batch_negatives": {"scale", "cached_rows"},
    "supervised_contrastive": {"temperature", "cached_rows"},
    "triplet": {"margin"},
    "cosent": {"scale", "cached_rows"},
    "angle": {"scale", "cached_rows"},
}


class LossTable(Table):
    """What training makes smaller, and for which task (training/losses.py). A key of another loss is refused."""

    name: Literal[
        "cross_entropy",
        "focal",
        "binary_cross_entropy",
        "mse",
        "huber",
        "in_batch_negatives",
        "supervised_contrastive",
        "triplet",
        "cosent",
        "angle",
    ]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"  # balanced: rare labels weigh as much as common ones
    contrastive_share: float = Field(default=0.0, ge=0, lt=1)  # of the supervised contrastive loss over the vectors
    temperature: float = Field(default=0.1, gt=0)  # of that
    gamma: float = Field(default=2.0, gt=0)  # how little rows count that are sure
    delta: float = Field(default=1.0, gt=0)  # in standard deviations: larger errors count in proportion, not squared
    scale: float = Field(default=20.0, gt=0)  # a cosine, or an angle's likeness, times this (1 / temperature)
    cached_rows: int | None = Field(
        default=None, ge=1
    )  # encode so many texts at a time: a large batch in little memory
    margin: float = Field(default=0.3, gt=0, le=2)  # in cosine

    @model_validator(mode="after")
    def _keys_are_of_this_loss(self) -> Self:
        for key in sorted(self.changed() - {"name", *LOSS_KEYS[self.name]}):
            owners = " or ".join(f'"{name}"' for name, keys in LOSS_KEYS.items() if key in keys)
            raise ValueError(f'`{key}` belongs to name = {owners}, not "{self.name}"; leave it out')
        is_contrastive = self.contrastive_share > 0 or self.name == "supervised_contrastive"
        if "temperature" in self.changed() and not is_contrastive:
            raise ValueError("`temperature` is of the contrastive loss, whose `contrastive_share` is 0; leave it out")
        return self
