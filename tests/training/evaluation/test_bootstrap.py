"""Intervals are as wide as the binomial says, and the same every time."""

import numpy as np

from training.evaluation.bootstrap import interval


def test_interval_of_a_share_is_that_of_the_binomial() -> None:
    right_N = np.arange(400) < 320

    low, high = interval(lambda rows: float(right_N[rows].mean()), len(right_N))

    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert abs(low - (0.8 - half)) < 0.01
    assert abs(high - (0.8 + half)) < 0.01


def test_interval_is_the_same_every_time() -> None:
    values_N = np.random.default_rng(1).normal(size=50)

    first, second = (interval(lambda rows: float(np.median(values_N[rows])), 50) for _ in range(2))

    assert first == second
    assert first[0] < np.median(values_N) < first[1]
