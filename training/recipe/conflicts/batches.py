"""Which settings of a batch, its parts and what computes them disagree?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from training.recipe.conflicts.kind import Conflict
from training.recipe.losses import BATCH_LOSSES

if TYPE_CHECKING:
    from training.recipe.run import Recipe


def of_batches(recipe: "Recipe") -> Iterator[Conflict]:
    """A batch in parts, by accumulation or by `cached_rows`, and half precision."""
    budget, hardware = recipe.budget, recipe.hardware
    loss = recipe.loss.name if recipe.loss else ""
    share = recipe.loss.contrastive_share if recipe.loss else 0.0
    cached = recipe.loss.cached_rows if recipe.loss else None
    accumulates = budget.accumulate > 1
    yield (
        accumulates and loss in BATCH_LOSSES,
        f"budget.accumulate = {budget.accumulate}",
        f'loss.name = "{loss}"',
        "a part of a batch has fewer rows to compare, so the result would be another; loss.cached_rows = "
        f"{max(1, budget.batch_size // budget.accumulate)} takes as little memory and has the same result",
    )
    yield (
        accumulates and share > 0,
        f"budget.accumulate = {budget.accumulate}",
        f"loss.contrastive_share = {share}",
        "a part of a batch has fewer rows to compare, so the result would be another; lower budget.batch_size",
    )
    yield (
        (cached or 0) >= budget.batch_size,
        f"loss.cached_rows = {cached}",
        f"budget.batch_size = {budget.batch_size}",
        "a batch would be encoded at once, as without it",
    )
    yield (
        budget.accumulate > budget.batch_size,
        f"budget.accumulate = {budget.accumulate}",
        f"budget.batch_size = {budget.batch_size}",
        "a part of a batch has at least one row",
    )
    yield (
        hardware.precision == "fp16" and hardware.device == "cpu",
        'hardware.precision = "fp16"',
        'hardware.device = "cpu"',
        'fp16 trains on CUDA only; take "bf16"',
    )
