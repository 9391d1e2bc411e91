"""What do losses and teachers of vectors not go together with?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from training.recipe.conflicts.kind import Conflict
from training.recipe.data import Columns
from training.recipe.losses import SCORED_LOSSES

if TYPE_CHECKING:
    from training.recipe.run import Recipe


def of_pairs(recipe: "Recipe") -> Iterator[Conflict]:
    """Pairs, their scores, and the texts they are looked for among."""
    loss = recipe.loss.name if recipe.loss else ""
    is_embedder, cuts = recipe.data is not None and recipe.head.task == "embed", getattr(recipe.head, "cuts", [])
    columns = getattr(recipe.data, "columns", Columns())
    corpus = getattr(recipe.data, "corpus", None)
    yield (
        is_embedder and loss in SCORED_LOSSES and columns.score is None,
        f'loss.name = "{loss}"',
        "data.columns without score",
        "it learns from a number for each pair; name its column",
    )
    yield (
        is_embedder and loss not in SCORED_LOSSES and columns.score is not None,
        f'loss.name = "{loss}"',
        f'data.columns.score = "{columns.score}"',
        f"it takes every pair for a match, whatever its score; take {' or '.join(map(repr, SCORED_LOSSES))}",
    )
    yield (
        loss in SCORED_LOSSES and columns.negative is not None,
        f'loss.name = "{loss}"',
        f'data.columns.negative = "{columns.negative}"',
        "it learns from pairs and their scores alone",
    )
    yield (
        loss == "angle" and any(size % 2 for size in cuts),
        'loss.name = "angle"',
        f"head.cuts = {cuts}",
        "it halves each vector, so the sizes must be even",
    )
    yield (
        corpus is not None and recipe.head.task != "embed",
        f'data.corpus = "{corpus}"',
        f'head.task = "{recipe.head.task}"',
        "a corpus is where an embedder looks for texts",
    )
    yield (
        corpus is not None and loss in SCORED_LOSSES,
        f'data.corpus = "{corpus}"',
        f'loss.name = "{loss}"',
        "pairs with scores are judged by their order, and nothing is looked for",
    )
