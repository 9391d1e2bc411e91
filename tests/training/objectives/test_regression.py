"""A head learns standardised values and gives those of the data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from tests.training.tiny import MakeRecipe
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.finetune import build_model
from training.losses.regress import huber, mse
from training.metrics import mean_absolute_error, pearson, r_squared, root_mean_squared_error, spearman
from training.modeling import ClassifierHead, load_encoder
from training.objectives import make_objective
from training.objectives.regression import scale_of, values
from training.objectives.supervised import Supervised

HEAD = {"task": "classify", "problem_type": "regression"}


@pytest.fixture
def years(intents: Splits) -> Splits:
    """The intents with the year 2000 and the length of the text."""

    def read(rows: list[Row]) -> list[Row]:
        return [replace(row, label=None, value=2000.0 + 3 * len(row.text)) for row in rows]

    train, dev, test = (read(rows) for rows in (intents.train, intents.dev, intents.test))
    return replace(intents, train=train, dev=dev, test=test, labels=[])


@pytest.mark.parametrize("loss", [{"name": "mse"}, {"name": "huber", "delta": 0.5}], ids=["mse", "huber"])
def test_targets_are_standardised_by_train(loss: dict[str, object], make_recipe: MakeRecipe, years: Splits) -> None:
    recipe = make_recipe(head=HEAD, loss=loss)
    loaded = load_encoder(recipe.encoder)
    assert recipe.loss is not None
    objective, model = make_objective(recipe, recipe.loss, years, loaded), build_model(loaded, recipe, []).eval()
    assert isinstance(objective, Supervised)

    targets = objective.lesson.targets

    assert targets.shape == (len(years.train), 1)
    assert torch.allclose(targets.mean(), torch.tensor(0.0), atol=1e-6)
    assert torch.allclose(targets.std(unbiased=False), torch.tensor(1.0))
    with torch.no_grad():
        parts = [objective.loss(model, [number]).item() for number in range(4)]
        assert objective.loss(model, range(4)).item() == pytest.approx(np.mean(parts), rel=1e-5)
    assert set(objective.score(model)) == {"r_squared", "spearman", "dev_loss"}


def test_a_rescaled_head_gives_the_values_themselves() -> None:
    head, vectors_BD = ClassifierHead(8, 1, dropout=0.0), torch.randn(50, 8)
    standard_B1 = head(vectors_BD)

    head.rescale(mean=2100.0, deviation=40.0)

    assert torch.allclose(head(vectors_BD), standard_B1 * 40 + 2100, atol=1e-3)
    assert head.unit == 40.0


def test_the_losses_are_their_formulas() -> None:
    found, right = torch.tensor([[0.5], [3.0]]), torch.tensor([[0.0], [0.0]])

    assert mse(found, right).item() == pytest.approx((0.25 + 9) / 2)
    assert huber(found, right, delta=1.0).item() == pytest.approx((0.125 + (3 - 0.5)) / 2)


def test_a_row_without_a_value_is_named() -> None:
    with pytest.raises(TrainingError, match=r"a\.csv:3: no value"):
        values([Row("x", "a.csv:3", label="a")])


def test_figures_equal_those_of_scipy() -> None:
    rng = np.random.default_rng(2)
    right_N = rng.integers(0, 6, 200).astype(np.float64)
    found_N = right_N + rng.normal(0, 1, 200).round(1)

    assert pearson(right_N, found_N) == pytest.approx(stats.pearsonr(right_N, found_N).statistic)
    assert spearman(right_N, found_N) == pytest.approx(stats.spearmanr(right_N, found_N).statistic)
    assert r_squared(right_N, found_N) == pytest.approx(1 - ((right_N - found_N) ** 2).sum() / (200 * right_N.var()))
    assert mean_absolute_error(right_N, found_N) <= root_mean_squared_error(right_N, found_N)


def test_an_answer_that_never_changes_explains_nothing() -> None:
    right_N, constant_N = np.array([1.0, 2.0, 3.0]), np.full(3, 2.0)

    assert (pearson(right_N, constant_N), spearman(right_N, constant_N), r_squared(right_N, constant_N)) == (0, 0, 0)
    assert r_squared(constant_N, right_N) == 0
    assert scale_of(right_N).mean == 2
