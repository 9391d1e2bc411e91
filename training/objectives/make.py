"""Which objective does a recipe ask for?"""

from training.data.collate import Batches, encode
from training.data.rows import Splits
from training.errors import TrainingError
from training.losses.classify import balanced_weights
from training.modeling.encoder import LoadedEncoder
from training.modeling.model import logits_name
from training.objectives.base import Objective
from training.objectives.classification import Classification, targets
from training.objectives.labelled_pairs import LabelledPairs
from training.objectives.retrieval import Retrieval, make_pairs
from training.recipe import Recipe
from training.recipe.losses import PAIR_LOSSES, LossTable


def make_objective(recipe: Recipe, loss: LossTable, splits: Splits, loaded: LoadedEncoder) -> Objective:
    """The objective of a recipe over tokenised rows.

    Raises:
        TrainingError: a split is empty, so nothing can be learned, chosen or judged.
    """
    parts = {"train": splits.train, "dev": splits.dev, "test": splits.test}
    for name, rows in parts.items():
        if not rows and (name != "dev" or recipe.budget.choose == "best"):
            raise TrainingError(f"the {name} split has no rows; all of train, dev (to choose by) and test need some")
    if recipe.head.task == "embed":
        train, dev = make_pairs(splits.train, loaded), make_pairs(splits.dev, loaded)
        if loss.name == "triplet" and len(train.negative_ids) < len(train.ids):
            row = next(row for row in splits.train if row.negative is None)
            raise TrainingError(f"{row.where}: no negative; the triplet loss needs one in every row")
        metric = "mrr" if splits.dev else None
        return Retrieval(splits.train, train, dev, loaded.pad_id, loss, recipe.head.cuts, metric)
    right, dev_right = targets(splits.train, splits.labels), targets(splits.dev, splits.labels)
    ids, dev_ids = (
        encode(loaded.tokenizer, [row.text for row in rows], loaded.max_tokens) for rows in (splits.train, splits.dev)
    )
    if loss.name in PAIR_LOSSES:
        return LabelledPairs(splits.train, ids, right, dev_ids, dev_right, loaded.pad_id, loss)
    return Classification(
        rows=splits.train,
        ids=ids,
        targets=right,
        dev_ids=dev_ids,
        dev_targets=dev_right,
        output=logits_name(recipe.head.name),
        pad_id=loaded.pad_id,
        table=loss,
        weights_C=balanced_weights(right, len(splits.labels)) if loss.class_weights == "balanced" else None,
        metric="accuracy" if splits.dev else None,
    )


def make_batches(objective: Objective, batch_size: int, *, seed: int) -> Batches:
    """Which rows, or pairs of rows, each step of the objective takes."""
    if isinstance(objective, LabelledPairs):
        return objective.batches(batch_size, seed=seed)
    return Batches(objective.lengths, batch_size, seed=seed)
