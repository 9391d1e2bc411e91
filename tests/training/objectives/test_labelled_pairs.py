"""Pairs of one label are drawn step by step, and rows of one label are never pushed apart."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from tests.training.tiny import MakeRecipe
from training.data.rows import Row, Splits
from training.finetune import build_model
from training.modeling import Model, load_encoder
from training.objectives import make_objective
from training.objectives.labelled_pairs import METRIC, LabelledPairs, PairBatches, PairRows
from training.recipe.losses import LossTable

LOSSES = ("in_batch_negatives", "supervised_contrastive")


def prepare(make_recipe: MakeRecipe, splits: Splits, table: str | dict[str, object]) -> tuple[LabelledPairs, Model]:
    recipe = make_recipe()
    loaded = load_encoder(recipe.encoder)
    objective = make_objective(
        recipe, LossTable.model_validate({"name": table} if isinstance(table, str) else table), splits, loaded
    )
    assert isinstance(objective, LabelledPairs)
    return objective, build_model(loaded, recipe, splits.labels).eval()


def test_each_row_is_drawn_once_an_epoch_with_another_of_its_label() -> None:
    targets = [number % 3 for number in range(50)]
    batches = PairBatches(targets, 8, seed=7)

    pairs = [divmod(number, 50) for step in range(batches.steps) for number in batches.batch(0, step)]

    assert sorted(row for row, _ in pairs) == list(range(50))
    assert all(targets[row] == targets[other] and row != other for row, other in pairs)


def test_every_other_row_of_the_label_is_drawn_about_as_often() -> None:
    batches = PairBatches([0] * 5, 5, seed=7)

    partners = Counter(pair for epoch in range(400) for pair in batches.batch(epoch, 0))

    assert len(partners) == 20
    assert all(60 < count < 140 for count in partners.values())


def test_a_step_is_a_function_of_seed_epoch_and_step() -> None:
    targets = [number % 4 for number in range(64)]
    order = [(1, 3), (0, 0), (1, 3), (0, 5)]

    asked = [PairBatches(targets, 8, seed=7).batch(epoch, step) for epoch, step in order]
    walked = PairBatches(targets, 8, seed=7)
    all_steps = {(epoch, step): walked.batch(epoch, step) for epoch in range(2) for step in range(8)}

    assert asked == [all_steps[place] for place in order]
    assert len({tuple(batch) for batch in all_steps.values()}) == 16
    assert PairBatches(targets, 8, seed=8).batch(0, 0) != all_steps[0, 0]


def test_pairs_are_never_a_list() -> None:
    """400,000 rows under two labels have 80 thousand million pairs."""
    count = 400_000
    rows = [Row("text", "train:1", label="a")] * count
    batches = PairBatches([number % 2 for number in range(count)], 32, seed=7)

    pairs = PairRows(rows)

    assert len(pairs) == count**2
    assert all(pairs[number].label == "a" for number in batches.batch(3, 77))


def test_a_label_that_stands_alone_goes_with_itself() -> None:
    assert PairBatches([0, 1], 2, seed=7).batch(0, 0) in ([0, 3], [3, 0])


@pytest.mark.parametrize("name", LOSSES)
def test_an_error_names_both_rows_of_a_pair(name: str, make_recipe: MakeRecipe, intents: Splits) -> None:
    objective, _ = prepare(make_recipe, intents, name)
    one, other = intents.train[2], intents.train[5]

    row = objective.rows[2 * len(intents.train) + 5]

    assert (row.text, row.positive, row.where) == (one.text, other.text, f"{one.where} with {other.where}")


def test_rows_of_one_label_are_no_negatives_of_each_other(make_recipe: MakeRecipe, intents: Splits) -> None:
    """With all others left out, there is nothing to choose between."""
    alike = [row for row in intents.train if row.label == "switch_on"]
    objective, model = prepare(make_recipe, replace(intents, train=alike), "in_batch_negatives")
    mixed, _ = prepare(make_recipe, intents, "in_batch_negatives")
    pairs = objective.batches(6, seed=7).batch(0, 0)

    with torch.no_grad():
        assert objective.loss(model, pairs).item() == 0.0
        assert mixed.loss(model, mixed.batches(24, seed=7).batch(0, 0)).item() > 0.0


@pytest.mark.parametrize("name", LOSSES)
def test_encoding_in_parts_changes_no_gradient(name: str, make_recipe: MakeRecipe, intents: Splits) -> None:
    found = []
    tables: list[dict[str, object]] = [{"name": name}, {"name": name, "cached_rows": 5}]
    for table in tables:
        objective, model = prepare(make_recipe, intents, table)
        objective.loss(model, objective.batches(20, seed=7).batch(0, 0)).backward()  # type: ignore[no-untyped-call]
        found.append([parameter.grad for parameter in model.encoder.parameters() if parameter.grad is not None])

    assert len(found[0]) == len(found[1]) > 10
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_the_dev_metric_is_that_of_the_nearest_class_mean(name: str, make_recipe: MakeRecipe, intents: Splits) -> None:
    """Dev rows that stand in train, under the label of one row each, are all right; under the other, all wrong."""
    two = [next(row for row in intents.train if row.label == label) for label in intents.labels]
    swapped = [replace(row, label=label) for row, label in zip(two, reversed(intents.labels), strict=True)]
    right, model = prepare(make_recipe, replace(intents, train=two, dev=two), name)
    wrong, _ = prepare(make_recipe, replace(intents, train=two, dev=swapped), name)

    assert (right.score(model), wrong.score(model)) == ({METRIC: 1.0}, {METRIC: 0.0})
