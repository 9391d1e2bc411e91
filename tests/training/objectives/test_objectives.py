"""A batch is scored by what its rows say, and equal texts are never pushed apart."""

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import MakeRecipe
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.finetune import build_model
from training.modeling import Model, load_encoder
from training.objectives import Objective, make_objective
from training.objectives.retrieval import Retrieval
from training.objectives.supervised import Supervised


def prepare(make_recipe: MakeRecipe, splits: Splits, task: str, **tables: object) -> tuple[Objective, Model]:
    recipe = make_recipe(task=task, **tables)
    assert recipe.loss is not None
    loaded = load_encoder(recipe.encoder)
    return make_objective(recipe, recipe.loss, splits, loaded), build_model(loaded, recipe, splits.labels).eval()


@pytest.mark.parametrize("task", ["classify", "embed"])
def test_lengths_are_those_of_the_longest_side_of_each_row(
    task: str, make_recipe: MakeRecipe, intents: Splits, pairs: Splits
) -> None:
    splits = intents if task == "classify" else pairs
    objective, _ = prepare(make_recipe, splits, task)
    encode = load_encoder(make_recipe().encoder).tokenizer.encode

    expected = [max(len(encode(text).ids) for text in (row.text, row.positive or row.text)) for row in splits.train]

    assert isinstance(objective, Supervised | Retrieval)
    assert list(objective.lengths) == expected


def test_rows_with_one_positive_are_no_negatives_of_each_other(make_recipe: MakeRecipe, pairs: Splits) -> None:
    """Both rows have the same right answer, so with each other's left out there is nothing to choose between."""
    twins = [Row(text, "pairs:1", positive="start the radio") for text in ("switch on the radio", "turn on the radio")]
    objective, model = prepare(make_recipe, replace(pairs, train=twins), "embed")

    assert objective.loss(model, [0, 1]).item() == 0.0


def test_an_explicit_negative_is_a_candidate(make_recipe: MakeRecipe, pairs: Splits) -> None:
    row = Row("switch on the radio", "pairs:1", positive="start the radio", negative="stop the radio")
    plain, model = prepare(make_recipe, replace(pairs, train=[replace(row, negative=None)]), "embed")
    hard, _ = prepare(make_recipe, replace(pairs, train=[row]), "embed")

    with torch.no_grad():
        assert plain.loss(model, [0]).item() == 0.0
        assert hard.loss(model, [0]).item() > 0.0


def test_a_share_of_the_contrastive_loss_is_added(make_recipe: MakeRecipe, intents: Splits) -> None:
    def loss(share: float) -> float:
        table = {"name": "cross_entropy", "contrastive_share": share}
        objective, model = prepare(make_recipe, intents, "classify", loss=table)
        with torch.no_grad():
            return objective.loss(model, range(8)).item()

    plain, mixed, more = loss(0.0), loss(0.25), loss(0.5)
    assert mixed != plain
    assert more - mixed == pytest.approx(mixed - plain, rel=1e-4)


def test_balanced_weights_and_focus_change_the_loss(make_recipe: MakeRecipe, intents: Splits) -> None:
    lopsided = replace(intents, train=[row for row in intents.train if row.label == "switch_on"] + intents.train[-2:])

    def loss(**table: object) -> float:
        objective, model = prepare(make_recipe, lopsided, "classify", loss=table)
        with torch.no_grad():
            return objective.loss(model, range(len(lopsided.train))).item()

    found = {
        loss(name="cross_entropy"),
        loss(name="cross_entropy", class_weights="balanced"),
        loss(name="focal"),
        loss(name="focal", gamma=1.0),
    }
    assert len(found) == 4


def test_cuts_are_trained_beside_the_whole_vector(make_recipe: MakeRecipe, pairs: Splits) -> None:
    """The loss of two sizes is the mean of both."""
    losses = []
    for cuts in ([], [8], [8, 16]):
        objective, model = prepare(make_recipe, pairs, "embed", head={"task": "embed", "cuts": cuts})
        with torch.no_grad():
            losses.append(objective.loss(model, range(6)).item())
    whole, one, two = losses

    eight = 2 * one - whole
    sixteen = 3 * two - whole - eight
    assert len({round(value, 4) for value in (whole, eight, sixteen)}) == 3
    assert min(whole, eight, sixteen) > 0


def test_triplets_need_a_negative_in_every_row(make_recipe: MakeRecipe, pairs: Splits) -> None:
    with pytest.raises(TrainingError, match=r"pairs\.jsonl:0: no negative; the triplet loss needs one in every row"):
        prepare(make_recipe, pairs, "embed", loss={"name": "triplet"})

    whole = replace(pairs, train=[row for row in pairs.train if row.negative is not None])
    objective, model = prepare(make_recipe, whole, "embed", loss={"name": "triplet", "margin": 2.0})
    with torch.no_grad():
        assert 0 < objective.loss(model, range(6)).item() < 4
