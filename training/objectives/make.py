"""Which objective does a recipe ask for?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from training.data.collate import Item, encode
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.modeling.encoder import LoadedEncoder
from training.modeling.model import logits_name
from training.objectives.base import Objective
from training.objectives.classification import single_label, targets
from training.objectives.joint import Joint, Pupil, RowSet
from training.objectives.labelled_pairs import LabelledPairs
from training.objectives.multi_label import multi_label
from training.objectives.regression import regression
from training.objectives.retrieval import Retrieval, make_pairs
from training.objectives.similarity import Similarity, scores_of
from training.objectives.supervised import Lesson, Supervised
from training.objectives.teacher import Teacher
from training.recipe import Recipe
from training.recipe.heads import ClassifyTask, ProblemType
from training.recipe.losses import PAIR_LOSSES, SCORED_LOSSES, LossTable

LESSONS: Mapping[ProblemType, Callable[[str, LossTable, Splits], Lesson]] = {
    "single_label": single_label,
    "multi_label": multi_label,
    "regression": regression,
}


def make_objective(
    recipe: Recipe,
    loss: LossTable,
    splits: Splits,
    loaded: LoadedEncoder,
    teacher: Teacher | None = None,
    more: Sequence[Splits] = (),
) -> Objective:
    """The objective of a recipe over tokenised rows, and over the answers of its teacher, if it has one; `more` are the
    data of its `more_heads`.

    Raises:
        TrainingError: a split is empty, so nothing can be learned, chosen or judged; or rows or vectors are not what
            the recipe needs.
    """
    assert (recipe.teacher is None) == (teacher is None)  # training/teacher.py makes it
    for part in (splits, *more):
        parts = {"train": part.train, "dev": part.dev, "test": part.test}
        for name, rows in parts.items():
            if not rows and (name != "dev" or recipe.budget.choose == "best"):
                raise TrainingError(
                    f"the {name} split has no rows; all of train, dev (to choose by) and test need some"
                )
    if more:
        return _joint(recipe, loss, splits, loaded, more)
    if teacher is not None:
        _check_widths(recipe, loaded.encoder.width, teacher)
    if recipe.head.task == "embed":
        train, dev = make_pairs(splits.train, loaded), make_pairs(splits.dev, loaded)
        if loss.name == "triplet" and len(train.negative_ids) < len(train.ids):
            row = next(row for row in splits.train if row.negative is None)
            raise TrainingError(f"{row.where}: no negative; the triplet loss needs one in every row")
        cuts, has_dev = recipe.head.cuts, bool(splits.dev)
        if loss.name in SCORED_LOSSES:
            if loss.name == "angle" and loaded.encoder.width % 2:
                raise TrainingError(
                    f'loss.name = "angle": vectors of {loaded.encoder.width} numbers have no two halves; take "cosent"'
                )
            scores_of([*splits.train, *splits.dev, *splits.test])  # one that is missing is named before the training
            metric = "spearman" if has_dev else None
            return Similarity(splits.train, train, splits.dev, dev, loaded.pad_id, loss, cuts, teacher, metric)
        return Retrieval(splits.train, train, dev, loaded.pad_id, loss, cuts, teacher, "mrr" if has_dev else None)
    ids, dev_ids = _encode(splits.train, loaded), _encode(splits.dev, loaded)
    if loss.name in PAIR_LOSSES:
        right, dev_right = targets(splits.train, splits.labels), targets(splits.dev, splits.labels)
        return LabelledPairs(splits.train, ids, right, dev_ids, dev_right, loaded.pad_id, loss)
    return Supervised(
        rows=splits.train,
        ids=ids,
        dev_ids=dev_ids,
        pad_id=loaded.pad_id,
        lesson=LESSONS[recipe.head.problem_type](logits_name(recipe.head.name), loss, splits),
        teacher=teacher,
    )


def _check_widths(recipe: Recipe, width: int, teacher: Teacher) -> None:
    """Vectors of another size teach by how alike the rows of a batch are, so that a part of it teaches otherwise."""
    sizes, taught = {width, *getattr(recipe.head, "cuts", [])}, teacher.answers_NE.shape[1]
    if teacher.table.learns == "vectors" and sizes != {taught} and recipe.budget.accumulate > 1:
        raise TrainingError(
            f"budget.accumulate = {recipe.budget.accumulate} and [teacher] disagree: its vectors have {taught} "
            f"numbers, the student's {' and '.join(map(str, sorted(sizes)))}, so the rows of a whole batch are "
            "compared; lower budget.batch_size"
        )


@dataclass(frozen=True, slots=True)
class _Task:
    head: ClassifyTask
    loss: LossTable
    weight: float
    splits: Splits


def _joint(recipe: Recipe, loss: LossTable, splits: Splits, loaded: LoadedEncoder, more: Sequence[Splits]) -> Joint:
    assert isinstance(recipe.head, ClassifyTask)  # of an embed head and more: recipe/more_heads.py
    shared, own = [_Task(recipe.head, loss, 1.0, splits)], list[_Task]()
    for table, part in zip(recipe.more_heads, more, strict=True):
        (own if table.column is None else shared).append(_Task(table.head, table.loss, table.weight, part))
    return Joint([_row_set(tasks, loaded) for tasks in (shared, *([task] for task in own))], loaded.pad_id)


def _row_set(tasks: Sequence[_Task], loaded: LoadedEncoder) -> RowSet:
    """The training rows of all tasks, each once, known by where they stand: a head may lack some that others have."""
    rows = tasks[0].splits.train
    if len(tasks) > 1:
        rows = list({row.where: row for task in tasks for row in task.splits.train}.values())
    return RowSet(rows, _encode(rows, loaded), [_pupil(task, rows, loaded) for task in tasks])


def _pupil(task: _Task, rows: Sequence[Row], loaded: LoadedEncoder) -> Pupil:
    train = task.splits.train
    places = torch.arange(len(rows))
    if rows is not train:
        numbers = {row.where: number for number, row in enumerate(train)}
        places = torch.tensor([numbers.get(row.where, -1) for row in rows])
    lesson = LESSONS[task.head.problem_type](logits_name(task.head.name), task.loss, task.splits)
    return Pupil(task.head.name, task.weight, lesson, places, _encode(task.splits.dev, loaded))


def _encode(rows: Sequence[Row], loaded: LoadedEncoder) -> list[Item]:
    return encode(loaded.reader, [row.input for row in rows], loaded.max_tokens)
