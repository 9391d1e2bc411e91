"""Each label of a row is a yes or no of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.tiny import MakeRecipe
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.finetune import build_model
from training.losses.classify import MOST_WEIGHT, binary_cross_entropy, positive_weights
from training.metrics import macro_average_precision
from training.modeling import load_encoder
from training.objectives import make_objective
from training.objectives.multi_label import label_sets
from training.recipe import Recipe

HEAD = {"task": "classify", "problem_type": "multi_label"}
LABELS = ["kitchen", "switch_off", "switch_on"]


@pytest.fixture
def recipe(make_recipe: MakeRecipe) -> Recipe:
    return make_recipe(head=HEAD, loss={"name": "binary_cross_entropy"})


@pytest.fixture
def several(intents: Splits) -> Splits:
    """The intents, and the kitchen where a sentence names it; a radio is switched without a label."""

    def labels(row: Row) -> tuple[str, ...]:
        if "radio" in row.text:
            return ()
        return ("kitchen", str(row.label)) if "kitchen" in row.text else (str(row.label),)

    def read(rows: list[Row]) -> list[Row]:
        return [replace(row, label=None, labels=labels(row)) for row in rows]

    train, dev, test = (read(rows) for rows in (intents.train, intents.dev, intents.test))
    return replace(intents, train=train, dev=dev, test=test, labels=LABELS)


def test_the_loss_of_a_batch_is_the_mean_over_rows_and_labels(recipe: Recipe, several: Splits) -> None:
    loaded = load_encoder(recipe.encoder)
    assert recipe.loss is not None
    objective, model = make_objective(recipe, recipe.loss, several, loaded), build_model(loaded, recipe, LABELS).eval()
    rows = several.train[:5]

    with torch.no_grad():
        parts = [objective.loss(model, [number]).item() for number in range(5)]
        together = objective.loss(model, range(5)).item()

    assert together == pytest.approx(np.mean(parts), rel=1e-5)
    assert set(objective.score(model)) == {"macro_average_precision", "dev_loss"}
    assert label_sets(rows, LABELS).tolist() == [[label in row.all_labels for label in LABELS] for row in rows]


def test_rows_are_named_that_have_no_list_or_an_unknown_label() -> None:
    with pytest.raises(TrainingError, match=r"a\.jsonl:1: no list of labels"):
        label_sets([Row("x", "a.jsonl:1", label="kitchen")], LABELS)
    with pytest.raises(TrainingError, match=r"a\.jsonl:2: label 'hall' is none of the 3 labels"):
        label_sets([Row("x", "a.jsonl:2", labels=("hall",))], LABELS)


def test_a_rare_label_weighs_more_where_it_is_right_up_to_a_limit() -> None:
    right_NC = np.zeros((1000, 4), bool)
    right_NC[:1, 0] = right_NC[:200, 1] = right_NC[:900, 2] = True

    weights_C = positive_weights(right_NC)

    assert weights_C.tolist() == [MOST_WEIGHT, 4.0, 1.0, MOST_WEIGHT]


def test_a_weight_counts_where_the_label_is_right() -> None:
    logits_BC, targets_BC = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])

    plain = binary_cross_entropy(logits_BC, targets_BC)
    weighted = binary_cross_entropy(logits_BC, targets_BC, weights_C=torch.tensor([3.0, 3.0]))

    right, wrong = -torch.tensor(1.0).sigmoid().log(), -torch.tensor(-1.0).sigmoid().log()
    assert torch.isclose(plain, (right + wrong) / 2)
    assert torch.isclose(weighted, (3 * right + wrong) / 2)


def test_average_precision_leaves_out_labels_without_rows() -> None:
    scores_NC = np.array([[0.9, 0.1], [0.8, 0.9], [0.1, 0.4]], np.float32)
    right_NC = np.array([[True, False], [True, False], [False, False]])

    assert macro_average_precision(scores_NC, right_NC) == 1.0
    assert macro_average_precision(scores_NC, right_NC[:, ::-1]) == pytest.approx((1 + 2 / 3) / 2)
