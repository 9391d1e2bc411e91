"""Thresholds are where F1 is best, unless too few rows say so."""

import numpy as np
import pytest

from training.calibrate.thresholds import CANDIDATES_T, fit_thresholds

LABELS = ["common", "rare"]


def rows_of(rare: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """2,000 rows: a common label whose rows score above 0.4, and a rare one."""
    rng = np.random.default_rng(seed)
    right_NC = np.zeros((2000, 2), bool)
    right_NC[:600, 0] = True
    right_NC[rng.choice(2000, rare, replace=False), 1] = True
    probs_NC = np.where(right_NC, rng.uniform(0.4, 1, right_NC.shape), rng.uniform(0, 0.4, right_NC.shape))
    return probs_NC.astype(np.float32), right_NC


def test_many_rows_get_the_threshold_that_parts_them() -> None:
    probs_NC, right_NC = rows_of(rare=300)
    probs_NC[:, 1] *= 0.2  # the same picture on another scale

    found = fit_thresholds(probs_NC, right_NC, LABELS)

    assert found["common"] == pytest.approx(0.4, abs=0.03)
    assert found["rare"] == pytest.approx(0.08, abs=0.01)


def test_a_single_row_does_not_say_where_the_threshold_is() -> None:
    """It scores 0.98; alone it would ask for a threshold just below."""
    probs_NC, right_NC = rows_of(rare=1)
    probs_NC[right_NC[:, 1], 1] = 0.98
    probs_NC[np.flatnonzero(~right_NC[:, 1])[0], 1] = 0.96

    alone, shared = (fit_thresholds(probs_NC, right_NC, LABELS, rows)["rare"] for rows in (0.0, 30.0))

    assert alone > 0.96
    assert shared == pytest.approx(0.4, abs=0.05)


def test_a_label_without_rows_gets_the_threshold_of_all() -> None:
    probs_NC, right_NC = rows_of(rare=0)

    found = fit_thresholds(probs_NC, right_NC, LABELS)

    assert found["rare"] == found["common"]


def test_rows_without_any_label_say_nothing() -> None:
    with pytest.raises(ValueError, match="a row with a label"):
        fit_thresholds(np.zeros((3, 2), np.float32), np.zeros((3, 2), bool), LABELS)


def test_every_threshold_is_a_probability_that_can_be_met() -> None:
    assert CANDIDATES_T[0] > 0
    assert CANDIDATES_T[-1] < 1
    assert (np.diff(CANDIDATES_T) > 0).all()
