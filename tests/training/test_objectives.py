"""A batch is scored by what its rows say, and equal texts are never pushed apart."""

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import MakeRecipe
from training.data.rows import Row, Splits
from training.finetune import build_model
from training.modeling import Model, load_encoder
from training.objectives import Objective, make_objective


def prepare(make_recipe: MakeRecipe, splits: Splits, task: str) -> tuple[Objective, Model]:
    recipe = make_recipe(task=task)
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
