"""Several heads learn together: what a batch is, what it loses, and which epoch is best."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.training.tiny import MakeRecipe
from training.data.collate import Batches
from training.data.rows import Row, Splits
from training.finetune import build_model
from training.modeling import Model, load_encoder
from training.objectives import Objective, make_objective
from training.objectives.joint import MEAN, JointBatches


def table(name: str, **others: Any) -> dict[str, object]:  # noqa: ANN401 - keys of a recipe
    return {"head": {"task": "classify", "name": name}, "loss": {"name": "cross_entropy"}, **others}


def prepare(
    make_recipe: MakeRecipe, splits: Splits, more: list[tuple[dict[str, object], Splits]]
) -> tuple[Objective, Model]:
    recipe = make_recipe(more_heads=[head for head, _ in more])
    assert recipe.loss is not None
    loaded, others = load_encoder(recipe.encoder), [part for _, part in more]
    objective = make_objective(recipe, recipe.loss, splits, loaded, more=others)
    return objective, build_model(loaded, recipe, splits.labels, others).eval()


@pytest.fixture
def kitchen(intents: Splits) -> Splits:
    """The same rows, by whether they name the kitchen; of a lamp nothing is known."""

    def read(rows: list[Row]) -> list[Row]:
        rows = [row for row in rows if "lamp" not in row.text]
        return [replace(row, label="kitchen" if "kitchen" in row.text else "elsewhere") for row in rows]

    train, dev, test = (read(rows) for rows in (intents.train, intents.dev, intents.test))
    return replace(intents, train=train, dev=dev, test=test, labels=["elsewhere", "kitchen"])


def test_the_longest_set_decides_and_the_others_begin_again() -> None:
    sizes, size = (10, 25), 4
    batches = JointBatches([[3] * count for count in sizes], size, seed=7)
    short, long = (Batches([3] * count, size, seed=7) for count in sizes)

    taken = [batches.batch(epoch, step) for epoch in range(2) for step in range(batches.steps)]

    assert batches.steps == long.steps == 7
    for number, rows in enumerate(taken):
        assert rows == [*short.batch(*divmod(number, 3)), *(10 + row for row in long.batch(*divmod(number, 7)))]
    assert sorted(row for rows in taken[:7] for row in rows if row >= 10) == list(range(10, 35))
    again = JointBatches([[3] * count for count in sizes], size, seed=7)
    assert again.batch(1, 4) == taken[11]  # no step before it is needed


@pytest.mark.parametrize("own", [False, True], ids=["the same rows", "rows of its own"])
def test_the_loss_of_a_batch_is_the_mean_of_those_of_its_rows(
    own: bool, make_recipe: MakeRecipe, intents: Splits, kitchen: Splits
) -> None:
    source = {"data": {"source": "files", "train": "x"}} if own else {"column": "room"}
    objective, model = prepare(make_recipe, intents, [(table("room", weight=0.5, **source), kitchen)])
    rows = objective.batches(4, seed=1).batch(0, 0)

    with torch.no_grad():
        alone = [objective.loss(model, [row]).item() for row in rows]
        together = objective.loss(model, rows).item()

    assert len(rows) == (8 if own else 4)
    assert together == pytest.approx(sum(alone) / len(alone), rel=1e-5)


def test_the_losses_of_heads_over_the_same_rows_are_added_by_weight(
    make_recipe: MakeRecipe, intents: Splits, kitchen: Splits
) -> None:
    """A row that tells one head nothing adds nothing for it."""
    joint, model = prepare(make_recipe, intents, [(table("room", column="room", weight=0.5), kitchen)])
    recipe = make_recipe()
    assert recipe.loss is not None
    loaded = load_encoder(recipe.encoder)
    first = make_objective(recipe, recipe.loss, intents, loaded)
    room = recipe.model_copy(update={"head": make_recipe(head={"task": "classify", "name": "room"}).head})
    second = make_objective(room, recipe.loss, kitchen, loaded)
    lamp = next(number for number, row in enumerate(joint.rows) if "lamp" in row.text)
    other = next(number for number, row in enumerate(joint.rows) if "kitchen" in row.text)
    place = next(number for number, row in enumerate(kitchen.train) if row.where == joint.rows[other].where)

    with torch.no_grad():
        known, half_known = joint.loss(model, [other]).item(), joint.loss(model, [lamp]).item()
        expected = first.loss(model, [other]).item() + 0.5 * second.loss(model, [place]).item()
        of_lamp = first.loss(model, [lamp]).item()

    assert [row.where for row in joint.rows] == [row.where for row in intents.train]
    assert known == pytest.approx(expected, rel=1e-5)
    assert half_known == pytest.approx(of_lamp, rel=1e-5)


def test_the_best_epoch_is_that_of_the_best_mean_by_weight(
    make_recipe: MakeRecipe, intents: Splits, kitchen: Splits
) -> None:
    objective, model = prepare(make_recipe, intents, [(table("room", column="room", weight=3.0), kitchen)])

    figures = objective.score(model)

    mean = (figures["accuracy_label"] + 3 * figures["accuracy_room"]) / 4
    assert objective.metric == MEAN
    assert figures[MEAN] == pytest.approx(mean)
    assert figures["dev_loss"] == pytest.approx(figures["dev_loss_label"] + 3 * figures["dev_loss_room"])
