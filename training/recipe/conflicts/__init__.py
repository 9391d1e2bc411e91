"""Which settings of a recipe disagree?

Each is fine alone; together one of them would do nothing, or do what nobody meant. Both are named, and why.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from training.recipe.conflicts.batches import of_batches
from training.recipe.conflicts.few_rows import of_few_rows
from training.recipe.conflicts.frozen import of_frozen_weights
from training.recipe.conflicts.numbers import of_numbers
from training.recipe.conflicts.pairs import of_pairs
from training.recipe.conflicts.problem_types import of_problem_types
from training.recipe.conflicts.several_heads import of_several_heads

if TYPE_CHECKING:
    from training.recipe.run import Recipe

RULES = (
    of_batches,
    of_pairs,
    of_frozen_weights,
    of_few_rows,
    of_problem_types,
    of_several_heads,
    of_numbers,
)


def conflicts(recipe: "Recipe") -> Iterator[str]:
    """One line for each pair of settings that disagree."""
    for rule in RULES:
        for is_there, one, other, why in rule(recipe):
            if is_there:
                yield f"{one} and {other} disagree: {why}"
