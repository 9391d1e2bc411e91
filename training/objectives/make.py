"""Which objective does a recipe ask for?"""

from collections.abc import Callable, Mapping

from training.data.collate import Batches, encode
from training.data.rows import Splits
from training.errors import TrainingError
from training.modeling.encoder import LoadedEncoder
from training.modeling.model import logits_name
from training.objectives.base import Objective
from training.objectives.classification import single_label, targets
from training.objectives.labelled_pairs import LabelledPairs
from training.objectives.multi_label import multi_label
from training.objectives.regression import regression
from training.objectives.retrieval import Retrieval, make_pairs
from training.objectives.similarity import Similarity, scores_of
from training.objectives.supervised import Lesson, Supervised
from training.objectives.teacher import Teacher
from training.recipe import Recipe
from training.recipe.heads import ProblemType
from training.recipe.losses import PAIR_LOSSES, SCORED_LOSSES, LossTable

LESSONS: Mapping[ProblemType, Callable[[str, LossTable, Splits], Lesson]] = {
    "single_label": single_label,
    "multi_label": multi_label,
    "regression": regression,
}


def make_objective(
    recipe: Recipe, loss: LossTable, splits: Splits, loaded: LoadedEncoder, teacher: Teacher | None = None
) -> Objective:
    """The objective of a recipe over tokenised rows, and over the answers of its teacher, if it has one.

    Raises:
        TrainingError: a split is empty, so nothing can be learned, chosen or judged; or rows or vectors are not what
            the recipe needs.
    """
    assert (recipe.teacher is None) == (teacher is None)  # training/teacher.py makes it
    parts = {"train": splits.train, "dev": splits.dev, "test": splits.test}
    for name, rows in parts.items():
        if not rows and (name != "dev" or recipe.budget.choose == "best"):
            raise TrainingError(f"the {name} split has no rows; all of train, dev (to choose by) and test need some")
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
    ids, dev_ids = (
        encode(loaded.reader, [row.input for row in rows], loaded.max_tokens) for rows in (splits.train, splits.dev)
    )
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


def make_batches(objective: Objective, batch_size: int, *, seed: int) -> Batches:
    """Which rows, or pairs of rows, each step of the objective takes."""
    if isinstance(objective, LabelledPairs):
        return objective.batches(batch_size, seed=seed)
    return Batches(objective.lengths, batch_size, seed=seed)


def _check_widths(recipe: Recipe, width: int, teacher: Teacher) -> None:
    """Vectors of another size teach by how alike the rows of a batch are, so that a part of it teaches otherwise."""
    sizes, taught = {width, *getattr(recipe.head, "cuts", [])}, teacher.answers_NE.shape[1]
    if teacher.table.learns == "vectors" and sizes != {taught} and recipe.budget.accumulate > 1:
        raise TrainingError(
            f"budget.accumulate = {recipe.budget.accumulate} and [teacher] disagree: its vectors have {taught} "
            f"numbers, the student's {' and '.join(map(str, sorted(sizes)))}, so the rows of a whole batch are "
            "compared; lower budget.batch_size"
        )
