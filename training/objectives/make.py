"""Which objective does a recipe ask for?"""

from collections.abc import Callable, Mapping

from training.data.collate import encode
from training.data.rows import Splits
from training.errors import TrainingError
from training.modeling.encoder import LoadedEncoder
from training.modeling.model import logits_name
from training.objectives.base import Objective
from training.objectives.classification import single_label
from training.objectives.multi_label import multi_label
from training.objectives.regression import regression
from training.objectives.retrieval import Retrieval, make_pairs
from training.objectives.supervised import Lesson, Supervised
from training.recipe import Recipe
from training.recipe.heads import ProblemType
from training.recipe.losses import LossTable

LESSONS: Mapping[ProblemType, Callable[[str, LossTable, Splits], Lesson]] = {
    "single_label": single_label,
    "multi_label": multi_label,
    "regression": regression,
}


def make_objective(recipe: Recipe, loss: LossTable, splits: Splits, loaded: LoadedEncoder) -> Objective:
    """The objective of a recipe over tokenised rows.

    Raises:
        TrainingError: a split is empty, so nothing can be learned, chosen or judged.
    """
    for name, rows in (("train", splits.train), ("dev", splits.dev), ("test", splits.test)):
        if not rows:
            raise TrainingError(f"the {name} split has no rows; all of train, dev (to choose by) and test need some")
    if recipe.head.task == "embed":
        train, dev = make_pairs(splits.train, loaded), make_pairs(splits.dev, loaded)
        if loss.name == "triplet" and len(train.negative_ids) < len(train.ids):
            row = next(row for row in splits.train if row.negative is None)
            raise TrainingError(f"{row.where}: no negative; the triplet loss needs one in every row")
        return Retrieval(splits.train, train, dev, loaded.pad_id, loss, recipe.head.cuts)
    return Supervised(
        rows=splits.train,
        ids=encode(loaded.tokenizer, [row.text for row in splits.train], loaded.max_tokens),
        dev_ids=encode(loaded.tokenizer, [row.text for row in splits.dev], loaded.max_tokens),
        pad_id=loaded.pad_id,
        lesson=LESSONS[recipe.head.problem_type](logits_name(recipe.head.name), loss, splits),
    )
