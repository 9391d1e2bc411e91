"""Which settings of a recipe disagree?

Each is fine alone; together one of them would do nothing, or do what nobody meant. Both are named, and why.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from training.recipe.data import DigitsData, reads_vectors

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
    for is_there, one, other, why in [*found, *_of_vectors(recipe)]:
        if is_there:
            yield f"{one} and {other} disagree: {why}"


def _of_vectors(recipe: "Recipe") -> Iterator[tuple[bool, str, str, str]]:
    """What disagrees where rows are numbers, or where the encoder reads nothing else."""
    data, kind = recipe.data, recipe.encoder.kind
    named = f'encoder.kind = "{kind}"'
    if data is None:
        return
    if not reads_vectors(data):
        yield kind == "mlp", named, f'data.source = "{data.source}"', "it reads numbers; name their data.columns.vector"
        return
    rows = 'data.source = "digits"' if isinstance(data, DigitsData) else "data.columns.vector"
    yield kind == "pretrained", named, rows, "it reads texts; take mlp, rnn, lstm, gru or transformer"
    yield (
        recipe.head.task == "embed",
        'head.task = "embed"',
        rows,
        ("an embedder learns from pairs of texts; a classifier of numbers gives vectors, too"),
    )
    yield "tokenizer" in recipe.encoder.model_fields_set, "encoder.tokenizer", rows, "numbers have no tokens"
    yield recipe.probes is not None, "probes", rows, "probes are texts"
    if isinstance(data, DigitsData):
        single = data.rows == "vectors"
        shape = f'data.rows = "{data.rows}"'
        yield single != (kind == "mlp"), named, shape, "an mlp reads one vector a row, the others sequences of them"
