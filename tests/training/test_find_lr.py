"""The range test suggests a rate at which the loss falls, and keeps nothing but a picture."""

import math
from pathlib import Path

import pytest

from tests.data.make_tiny import make_sources
from tests.training.scratch.numbers import MLP, number_splits
from tests.training.scratch.test_numbers_served import numbers_recipe
from tests.training.test_loop import QuietProgress, run
from tests.training.tiny import MakeRecipe
from training.__main__ import main
from training.data.rows import Splits
from training.errors import NotFiniteError, TrainingError
from training.find_lr import HIGHEST, LOWEST, STEPS, draw, judge, range_test, smooth

RATES = [LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1)) for step in range(STEPS)]


def losses(fall_at: float, rise_at: float) -> list[float]:
    """Flat, then a fall around one rate, then a rise around another."""

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    return [
        4 - 3 * sigmoid(4 * math.log(rate / fall_at)) + 20 * sigmoid(4 * math.log(rate / rise_at)) for rate in RATES
    ]


@pytest.mark.parametrize("fall_at", [1e-5, 1e-3])
def test_the_rate_of_the_steepest_fall_is_suggested(fall_at: float) -> None:
    found = judge(RATES, losses(fall_at, 0.1))

    assert found.suggested == pytest.approx(fall_at, rel=0.2)
    assert fall_at < found.lowest < 0.1
    assert str(found).startswith(f"optim.lr = {found.suggested:.1e}: ")
    assert draw(found).startswith(b"\x89PNG")
    assert draw(found) == draw(found)


def test_smoothing_moves_nothing_to_higher_rates() -> None:
    clean = losses(1e-3, 0.1)
    noisy = [loss + (0.5 if step % 2 else -0.5) for step, loss in enumerate(clean)]

    found = judge(RATES, smooth(noisy))

    assert found.suggested == pytest.approx(1e-3, rel=0.5)


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    with pytest.raises(TrainingError, match="falls at no rate between 1e-07 and 1e"):
        judge(RATES, [1 + rate for rate in RATES])


def test_the_suggested_rate_trains(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    recipe = make_recipe()
    found = range_test(recipe, intents, QuietProgress())

    trained = run(make_recipe(optim={"lr": found.suggested, "head_lr_scale": 5.0}), intents, tmp_path).trained

    assert len(found.rates) == len(found.losses) <= STEPS
    assert 1e-5 < found.suggested < found.lowest < 1
    assert trained.history[-1]["train_loss"] < 0.9 * trained.history[0]["train_loss"]
    assert range_test(recipe, intents, QuietProgress()) == found


def test_an_encoder_from_scratch_has_a_rate_too() -> None:
    """Its tokenizer, or what it standardises by, comes from the rows of train."""
    found = range_test(numbers_recipe(MLP), number_splits(sequences=False), QuietProgress())

    assert found.suggested < found.lowest


def test_a_batch_that_is_not_finite_at_the_least_rate_is_an_error(
    make_recipe: MakeRecipe, intents: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a high rate it is what the test looks for; at 1e-7 it is a fault of the data."""
    name = "training.objectives.classification.per_row_cross_entropy"
    monkeypatch.setattr(name, lambda logits, *_, **__: logits.sum(dim=1) * float("nan"))

    with pytest.raises(NotFiniteError, match="step 1: the loss is nan"):
        range_test(make_recipe(), intents, QuietProgress())


def test_the_command_prints_one_line_and_writes_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sources(tmp_path)
    monkeypatch.chdir(tmp_path)

    code = main(["find-lr", "tiny.toml", "--models", "m"])

    said = capsys.readouterr()
    assert code == 0
    assert said.out.startswith("optim.lr = ")
    assert said.out.count("\n") == 1
    assert [path.name for path in (tmp_path / "m" / "runs" / "tiny-classifier").iterdir()] == ["find-lr.png"]


def test_a_recipe_without_data_has_no_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text('name = "good"\n[encoder]\nsource = "x"\n[head]\ntask = "embed"\n')

    assert main(["find-lr", "good.toml"]) == 1
    assert "good has no [data] and [loss], so there is no rate to find" in capsys.readouterr().err
