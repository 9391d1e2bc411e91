"""Which settings of a recipe disagree?

Each is fine alone; together one of them would do nothing, or do what nobody meant. Both are named, and why.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from training.recipe.few_shot import few_shot_conflicts

if TYPE_CHECKING:
    from training.recipe.run import Recipe


def conflicts(recipe: "Recipe") -> Iterator[str]:
    """One line for each pair of settings that disagree."""
    encoder, optim, budget, hardware = recipe.encoder, recipe.optim, recipe.budget, recipe.hardware
    loss = recipe.loss.name if recipe.loss else ""
    share = recipe.loss.contrastive_share if recipe.loss else 0.0
    accumulates, is_frozen = budget.accumulate > 1, getattr(encoder, "freeze", None) == "all"
    found: list[tuple[bool, str, str, str]] = [
        (
            accumulates and loss == "in_batch_negatives",
            f"budget.accumulate = {budget.accumulate}",
            f'loss.name = "{loss}"',
            "a part of a batch has fewer negatives, so the result would be another; lower budget.batch_size",
        ),
        (
            accumulates and share > 0,
            f"budget.accumulate = {budget.accumulate}",
            f"loss.contrastive_share = {share}",
            "a part of a batch has fewer rows to compare, so the result would be another; lower budget.batch_size",
        ),
        (
            budget.accumulate > budget.batch_size,
            f"budget.accumulate = {budget.accumulate}",
            f"budget.batch_size = {budget.batch_size}",
            "a part of a batch has at least one row",
        ),
        (
            is_frozen and recipe.head.task == "embed",
            'encoder.freeze = "all"',
            'head.task = "embed"',
            "nothing would be left to train",
        ),
        (
            is_frozen and getattr(encoder, "checkpointing", False),
            'encoder.freeze = "all"',
            "encoder.checkpointing = true",
            "a frozen encoder has no way back, so there is nothing to keep or to compute again",
        ),
        (
            is_frozen and optim.layer_decay < 1,
            'encoder.freeze = "all"',
            f"optim.layer_decay = {optim.layer_decay}",
            "a frozen encoder has no rate",
        ),
        (
            is_frozen and optim.name == "muon",
            'encoder.freeze = "all"',
            'optim.name = "muon"',
            "muon moves the matrices of the encoder",
        ),
        (
            hardware.precision == "fp16" and hardware.device == "cpu",
            'hardware.precision = "fp16"',
            'hardware.device = "cpu"',
            'fp16 trains on CUDA only; take "bf16"',
        ),
    ]
    for is_there, one, other, why in [*found, *few_shot_conflicts(recipe)]:
        if is_there:
            yield f"{one} and {other} disagree: {why}"
