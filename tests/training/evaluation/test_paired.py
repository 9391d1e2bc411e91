"""Paired tests see a real difference, and none where there is none."""

import numpy as np
import pytest
from scipy.stats import rankdata

from training.evaluation.paired import FLIPS, difference, mcnemar, sign_flip, swap

ROWS = 3000


def shares(better: int, worse: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classifiers right on 90 % of the rows, but for some that one alone has right."""
    a_N = np.arange(ROWS) % 10 > 0
    b_N = a_N.copy()
    b_N[np.flatnonzero(~a_N)[:better]] = True
    b_N[np.flatnonzero(a_N)[:worse]] = False
    return a_N, b_N


def test_a_point_of_difference_is_seen_and_a_mere_swap_is_not() -> None:
    assert mcnemar(*shares(50, 20)) < 0.001
    assert mcnemar(*shares(35, 35)) > 0.9
    assert mcnemar(*shares(0, 0)) == 1.0


def test_signs_are_flipped_in_blocks_as_they_were_at_once() -> None:
    generator = np.random.default_rng(2)
    a_N, b_N = generator.normal(size=50), generator.normal(0.2, size=50)

    signs_KN = np.random.default_rng(0).choice([-1.0, 1.0], (FLIPS, 50))
    as_far = (np.abs(signs_KN @ (b_N - a_N)) >= abs((b_N - a_N).sum()) - 1e-12).sum()

    assert sign_flip(a_N, b_N) == (as_far + 1) / (FLIPS + 1)


def test_p_is_that_of_the_binomial() -> None:
    """Of six rows that one alone has right, one is A's: (1 + 6) · 2 / 64."""
    assert mcnemar(*shares(5, 1)) == pytest.approx(14 / 64)


def test_equal_models_are_told_apart_as_seldom_as_promised() -> None:
    generator = np.random.default_rng(1)
    ps = []
    for _ in range(200):
        a_N = generator.random(300) < 0.8
        changed_N = generator.random(300) < 0.2
        ps.append(mcnemar(a_N, np.where(changed_N, generator.random(300) < 0.8, a_N)))

    assert np.mean(np.array(ps) < 0.05) < 0.06


def test_sign_flips_agree_with_the_size_of_the_effect() -> None:
    generator = np.random.default_rng(2)
    a_N = generator.random(400)

    assert sign_flip(a_N, a_N + generator.normal(0.05, 0.1, 400)) < 0.001
    assert sign_flip(a_N, a_N + generator.normal(0.0, 0.1, 400)) > 0.02
    assert sign_flip(a_N, a_N) == 1.0


def test_the_interval_holds_the_difference() -> None:
    a_N, b_N = shares(50, 20)

    found = difference(
        "accuracy", lambda rows: float(a_N[rows].mean()), lambda rows: float(b_N[rows].mean()), ROWS, None
    )

    assert found.by == pytest.approx(0.01)
    assert found.interval[0] < 0.01 < found.interval[1]
    assert found.interval[0] > 0  # as the test says, too


def test_a_better_order_is_seen_and_a_mere_other_one_is_not() -> None:
    generator = np.random.default_rng(3)
    right_N = generator.permutation(400).astype(np.float64)
    a_N, b_N, better_N = (rankdata(right_N + noise * generator.standard_normal(400)) for noise in (300, 300, 100))

    assert swap(a_N, better_N, right_N) < 0.001
    assert swap(a_N, b_N, right_N) > 0.05
    assert swap(a_N, a_N, right_N) == 1.0
