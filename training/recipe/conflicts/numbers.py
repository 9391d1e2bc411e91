"""What disagrees where rows are numbers, or where the encoder reads nothing else?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from training.recipe.conflicts.kind import Conflict
from training.recipe.data import DigitsData, reads_vectors

if TYPE_CHECKING:
    from training.recipe.run import Recipe


def of_numbers(recipe: "Recipe") -> Iterator[Conflict]:
    """Of the encoder, the head and whatever else reads rows."""
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
    yield recipe.teacher is not None, "teacher", rows, "it reads texts"
    yield recipe.probes is not None, "probes", rows, "probes are texts"
    if isinstance(data, DigitsData):
        single = data.rows == "vectors"
        shape = f'data.rows = "{data.rows}"'
        yield single != (kind == "mlp"), named, shape, "an mlp reads one vector a row, the others sequences of them"
