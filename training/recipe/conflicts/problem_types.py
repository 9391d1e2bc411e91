"""What is for one label a text is not for several, or for a number."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from training.recipe.conflicts.kind import Conflict
from training.recipe.data import Data
from training.recipe.heads import HeadTable, RowKind

if TYPE_CHECKING:
    from training.recipe.run import Recipe


def of_problem_types(recipe: "Recipe") -> Iterator[Conflict]:
    """Of every head, and of what only the primary one has."""
    head, data = recipe.head, recipe.data
    readers = [head.rows, *(more.head.rows for more in recipe.more_heads if more.column is not None)]
    yield from _of_separator(head, data, "", readers)
    yield from _of_problem_type(head, data, "")
    for number, more in enumerate(recipe.more_heads):
        at = f"more_heads.{number}."
        yield from _of_separator(more.head, more.data, at, [more.head.rows])
        yield from _of_problem_type(more.head, more.data, at)
    if head.rows in ("multi_label", "regression"):
        name = f'head.problem_type = "{head.rows}"'
        learns_logits = recipe.teacher is not None and recipe.teacher.learns == "logits"
        yield learns_logits, 'teacher.learns = "logits"', name, 'it teaches which one label is right; take "vectors"'
        yield recipe.probes is not None, f'probes = "{recipe.probes}"', name, "probes have one label each"
        yield recipe.baselines, "baselines = true", name, "the baselines give one label a text"


def _of_separator(head: HeadTable, data: Data | None, at: str, readers: Sequence[RowKind]) -> Iterator[Conflict]:
    """`readers`: what the heads that read these rows take from them."""
    if (separator := getattr(data, "label_separator", None)) is not None:
        kind = f'problem_type = "{head.rows}"' if head.rows == "regression" else f'task = "{head.task}"'
        why = 'it parts the labels of a text, which only head.problem_type = "multi_label" has'
        yield "multi_label" not in readers, f'{at}data.label_separator = "{separator}"', f"{at}head.{kind}", why


def _of_problem_type(task: HeadTable, data: Data | None, at: str) -> Iterator[Conflict]:
    """`at`: the place of the head in the recipe, "" or "more_heads.0."."""
    if task.rows not in ("multi_label", "regression"):
        return
    many, head = task.rows == "multi_label", f'{at}head.problem_type = "{task.rows}"'
    per_label = getattr(data, "per_label", None)
    why = "its rows have no one label to draw them by"
    yield per_label is not None, f"{at}data.per_label = {per_label}", head, why
    has_dev = getattr(data, "has_dev", True)
    yield many and not has_dev, f"{at}data.dev_share = 0", head, "there are no dev rows to fit thresholds on"
    scope, coverages = getattr(task, "out_of_scope", None), "coverages" in task.changed()
    yield (
        scope is not None,
        f"{at}head.out_of_scope",
        head,
        ("a text that fits no label gets none of them" if many else "a value has no scope"),
    )
    yield (
        coverages,
        f"{at}head.coverages",
        head,
        ("a set of labels is what it answers already" if many else "there are no labels to make sets of"),
    )
    yield (
        getattr(data, "one_label_only", False),
        f"{at}data.one_label_only = true",
        head,
        ("it takes rows of several labels" if many else "its rows have no labels"),
    )
    source = data.source if data is not None else ""
    has_one = source in ("home-assistant-intents", "digits")
    yield has_one, f'{at}data.source = "{source}"', head, "its rows have one label each"
