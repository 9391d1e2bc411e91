"""What has no effect, or no sense, on weights that do not move?"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from training.recipe.conflicts.kind import Conflict

if TYPE_CHECKING:
    from training.recipe.run import Recipe


def of_frozen_weights(recipe: "Recipe") -> Iterator[Conflict]:
    """A frozen encoder, adapters, and what a teacher could teach either."""
    encoder, optim = recipe.encoder, recipe.optim
    learns = recipe.teacher.learns if recipe.teacher else ""
    is_frozen = getattr(encoder, "freeze", None) == "all"
    yield (
        learns == "logits" and recipe.head.task != "classify",
        'teacher.learns = "logits"',
        f'head.task = "{recipe.head.task}"',
        'it has no logits; take "vectors"',
    )
    yield (
        learns == "vectors" and is_frozen,
        'teacher.learns = "vectors"',
        'encoder.freeze = "all"',
        "vectors that do not move learn from nobody",
    )
    yield (
        is_frozen and recipe.head.task == "embed",
        'encoder.freeze = "all"',
        'head.task = "embed"',
        "nothing would be left to train",
    )
    yield (
        is_frozen and getattr(encoder, "checkpointing", False),
        'encoder.freeze = "all"',
        "encoder.checkpointing = true",
        "a frozen encoder has no way back, so there is nothing to keep or to compute again",
    )
    yield (
        is_frozen and optim.layer_decay < 1,
        'encoder.freeze = "all"',
        f"optim.layer_decay = {optim.layer_decay}",
        "a frozen encoder has no rate",
    )
    yield (
        is_frozen and optim.name == "muon",
        'encoder.freeze = "all"',
        'optim.name = "muon"',
        "muon moves the matrices of the encoder",
    )
    yield (
        getattr(encoder, "lora", None) is not None and getattr(encoder, "freeze", None) is not None,
        "encoder.lora",
        f"encoder.freeze = {json.dumps(getattr(encoder, 'freeze', None))}",
        "with adapters all other weights of the encoder are frozen; leave one out",
    )
