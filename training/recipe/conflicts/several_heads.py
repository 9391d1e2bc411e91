"""What can two heads not have both, and what needs a single one?"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from training.recipe.conflicts.kind import Conflict
from training.recipe.data import RowsData, reads_vectors
from training.recipe.heads import TRUNK_HEAD, ClassifyTask, HeadTable, logits_name

if TYPE_CHECKING:
    from training.recipe.run import Recipe


def of_several_heads(recipe: "Recipe") -> Iterator[Conflict]:
    """Their names, rows, losses and scopes."""
    heads: list[tuple[str, HeadTable]] = [("head", recipe.head)]
    heads += [(f"more_heads.{number}.head", more.head) for number, more in enumerate(recipe.more_heads)]
    yield from _of_names(heads)
    if not recipe.more_heads:
        return
    is_embed = recipe.head.task == "embed"
    yield is_embed, "more_heads", 'head.task = "embed"', "vectors and labels are not learned together"
    yield recipe.teacher is not None, "teacher", "more_heads", "it teaches one head; train that alone"
    losses = [("loss", recipe.loss), *((f"more_heads.{n}.loss", more.loss) for n, more in enumerate(recipe.more_heads))]
    for at, loss in losses:
        share = loss.contrastive_share if loss else 0.0
        why = "it would draw the vector that all heads share to the labels of one"
        yield share > 0, f"{at}.contrastive_share = {share}", "more_heads", why
    scopes = [f"{at}.out_of_scope" for at, head in heads if _may_read_vectors(head)]
    why = "one head of a bundle at most is scored by mahalanobis; name another `score` in the others"
    yield len(scopes) > 1, ", ".join(scopes[:-1]), "".join(scopes[-1:]), why
    for at, data in _data_of(recipe):
        why = "each head is calibrated on dev rows, and chooses the epoch by them"
        yield not data.has_dev, f"{at}.dev_share = 0", "more_heads", why
    for at, table in (
        ("data", recipe.data),
        *((f"more_heads.{n}.data", m.data) for n, m in enumerate(recipe.more_heads)),
    ):
        is_of_numbers = table is not None and reads_vectors(table)
        yield is_of_numbers, at, "more_heads", "its rows are numbers, and several heads read texts"
    yield from _of_columns(recipe)


def _of_names(heads: Sequence[tuple[str, HeadTable]]) -> Iterator[Conflict]:
    seen: dict[str, str] = {}
    for at, head in heads:
        if head.task == "embed":
            continue
        why = "every classifier also offers the vector, under this name"
        yield head.name == TRUNK_HEAD, f'{at}.name = "{head.name}"', f'{at}.task = "classify"', why
        first = seen.setdefault(logits_name(head.name), at)
        why = "each head needs a name and an output of its own, in which - . and _ are the same"
        yield first != at, f"{first}.name", f'{at}.name = "{head.name}"', why


def _of_columns(recipe: "Recipe") -> Iterator[Conflict]:
    """Heads over the primary rows."""
    columns = getattr(recipe.data, "columns", None)
    seen: dict[tuple[str, str], str] = {}
    if isinstance(recipe.head, ClassifyTask) and columns is not None:
        seen[recipe.head.rows, getattr(columns, recipe.head.answer_column)] = "head"
    for number, more in enumerate(recipe.more_heads):
        at = f"more_heads.{number}"
        if more.column is None:
            continue
        if recipe.data is not None and columns is None:
            yield True, f"{at}.column", f'data.source = "{recipe.data.source}"', "its rows have no other columns"
        draw = getattr(recipe.data, "per_label", None)
        yield draw is not None, f"data.per_label = {draw}", f"{at}.column", "each head would draw other rows"
        first = seen.setdefault((more.head.rows, more.column), f"{at}.head")
        yield first != f"{at}.head", f'{at}.column = "{more.column}"', first, "both would learn the same"


def _data_of(recipe: "Recipe") -> Iterator[tuple[str, RowsData]]:
    """The tables of data of all heads, by their place."""
    tables = [("data", recipe.data), *((f"more_heads.{n}.data", more.data) for n, more in enumerate(recipe.more_heads))]
    for at, data in tables:
        if isinstance(data, RowsData):
            yield at, data


def _may_read_vectors(head: HeadTable) -> bool:
    scope = head.out_of_scope if isinstance(head, ClassifyTask) else None
    return scope is not None and scope.score in (None, "mahalanobis")
