"""A loss that goes up and stays there is seen; noise, a bad batch and a small loss are not."""

import random

import pytest

from training.trend import ON_END, SPAN, Trend


def steps_until_it_diverges(losses: list[float]) -> int | None:
    trend = Trend()
    for step, loss in enumerate(losses, start=1):
        trend = trend.after(loss)
        assert len(trend.losses) <= SPAN
        if trend.has_diverged:
            return step
    return None


def learning(steps: int, *, end: float = 0.05) -> list[float]:
    """From 4.3 down to `end`, with the noise of batches."""
    chance = random.Random(3)
    return [(end + 4.3 * 0.97**step) * chance.uniform(0.3, 3.0) for step in range(steps)]


def test_a_run_that_learns_never_diverges() -> None:
    assert steps_until_it_diverges(learning(2000)) is None


def test_a_loss_next_to_nothing_may_jump() -> None:
    """An easy batch has a loss of 0, and five times 0 is 0: the noise of a run that is good is no divergence."""
    chance = random.Random(5)
    assert steps_until_it_diverges(learning(300, end=0.0) + [chance.choice([0, 0.4]) for _ in range(1000)]) is None


@pytest.mark.parametrize("high", [1, ON_END - 1])
def test_some_bad_batches_are_no_divergence(high: int) -> None:
    assert steps_until_it_diverges(learning(100) + [50.0] * high + learning(100)[50:]) is None


@pytest.mark.parametrize("before", [ON_END, 100, 500])
def test_a_loss_that_goes_up_and_stays_is_seen_after_twenty_steps(before: int) -> None:
    assert steps_until_it_diverges(learning(before) + [50.0] * 100) == before + ON_END


def test_a_run_that_never_learned_and_goes_up_is_seen() -> None:
    assert steps_until_it_diverges([4.3 * 1.05**step for step in range(200)]) is not None


def test_what_is_high_does_not_become_the_measure() -> None:
    trend = Trend()
    for loss in [1.0] * 30 + [100.0] * 15:
        trend = trend.after(loss)

    assert (trend.high, trend.losses, trend.limit()) == (15, [1.0] * 30, 5.0)
