"""Where do the rows of a run come from?

`load` reads what the recipe's `[data]` names into three splits; `describe` says what became of the rows.
"""

from collections.abc import Collection
from pathlib import Path

from training.data.checks import describe
from training.data.outside import take_out
from training.data.rows import Counts, Row, Splits
from training.data.sources import load_dataset, load_digits, load_files
from training.errors import DataError, RecipeError
from training.recipe import Recipe
from training.recipe.data import DatasetData, DigitsData, FileData, HomeIntentsData
from training.recipe.heads import ClassifyTask

__all__ = ["Counts", "Row", "Splits", "describe", "load", "load_more"]


def load(recipe: Recipe, folder: Path) -> Splits:
    """The rows of a recipe's `[data]`; those that its head counts as out of scope stand apart. Relative paths start
    at `folder`, where the recipe lies.

    Raises:
        DataError: every problem of the data, found before the first step.
        RecipeError: the recipe has no data, or data its head cannot learn from.
    """
    scope = recipe.head.out_of_scope if isinstance(recipe.head, ClassifyTask) else None
    if scope is None or scope.label is None:
        return _load(recipe, folder, [])
    splits = _load(recipe, folder, [scope.label])
    return take_out(splits, scope.label, needed=scope.score is None)


def load_more(recipe: Recipe, folder: Path) -> list[Splits]:
    """The rows of each of a recipe's `more_heads`, as its head reads them.

    Raises:
        DataError: as of `load`, with the name of the head.
    """
    found = []
    for more in recipe.more_heads:
        try:
            found.append(load(recipe.alone(more), folder))
        except DataError as error:
            raise DataError(f"head {more.head.name}: {error.summary}", error.problems) from error
    return found


def _load(recipe: Recipe, folder: Path, untrained: Collection[str]) -> Splits:
    match recipe.data:
        case FileData() as data:
            return load_files(data, folder, recipe.head.rows, untrained)
        case DatasetData() as data:
            return load_dataset(data, recipe.head.rows, untrained)
        case DigitsData() as data:
            return load_digits(data)
        case HomeIntentsData() as data:
            if recipe.head.task != "classify":
                raise RecipeError(f"{recipe.name}: home-assistant-intents has labels; give it a head that classifies")
            try:
                from training.data.home_intents import load_home_intents
            except ModuleNotFoundError as error:
                raise DataError(f"{error}: install home-assistant-intents and hassil (extra: training)") from error
            return load_home_intents(data)
        case None:
            raise RecipeError(f"{recipe.name}: the recipe has no [data]")
