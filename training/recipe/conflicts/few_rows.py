"""Which settings of a run with few rows, or without dev rows, disagree?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from training.recipe.conflicts.kind import Conflict
from training.recipe.data import RowsData

if TYPE_CHECKING:
    from training.recipe.run import Recipe


def of_few_rows(recipe: "Recipe") -> Iterator[Conflict]:
    """Draws of rows by label, and what is chosen or fitted without dev rows."""
    budget, data = recipe.budget, recipe.data
    yield (
        budget.choose == "last" and budget.patience is not None,
        'budget.choose = "last"',
        f"budget.patience = {budget.patience}",
        "patience waits for a better dev metric",
    )
    if not isinstance(data, RowsData):
        return
    yield (
        data.per_label is not None and recipe.head.task == "embed",
        f"data.per_label = {data.per_label}",
        'head.task = "embed"',
        "its rows have no labels",
    )
    if not data.has_dev:
        yield (
            budget.choose == "best",
            "data.dev_share = 0",
            'budget.choose = "best"',
            'there are no dev rows to choose an epoch by; take "last"',
        )
        scope = getattr(recipe.head, "out_of_scope", None)
        yield (
            scope is not None and (scope.score is None or scope.threshold is None),
            "data.dev_share = 0",
            "head.out_of_scope",
            "there are no dev rows to fit it on; give it a `score` and a `threshold`",
        )
