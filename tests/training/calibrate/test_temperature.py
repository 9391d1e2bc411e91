"""Temperature scaling finds the temperature that was hidden in the logits, and moves no label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bundle.manifest import ClassifyHead
from app.bundle.scoring import probabilities
from training.calibrate.temperature import (
    LEAST,
    MOST,
    binary_log_likelihood,
    fit_label_temperature,
    fit_temperature,
    negative_log_likelihood,
)


def honest_logits(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, 6], and labels drawn from their very softmax."""
    rng = np.random.default_rng(seed)
    logits_NC = rng.normal(0, 2, (rows, 6)).astype(np.float32)
    probs_NC = np.exp(logits_NC) / np.exp(logits_NC).sum(axis=1, keepdims=True)
    return logits_NC, np.array([rng.choice(6, p=probs_C / probs_C.sum()) for probs_C in probs_NC.astype(np.float64)])


@pytest.mark.parametrize("hidden", [0.4, 1.0, 3.0])
def test_the_hidden_temperature_is_found(hidden: float) -> None:
    logits_NC, right_N = honest_logits(6000, seed=5)

    assert fit_temperature(logits_NC * np.float32(hidden), right_N) == pytest.approx(hidden, rel=0.06)


def test_the_fit_is_a_minimum() -> None:
    logits_NC, right_N = honest_logits(500, seed=6)
    logits_NC *= 2

    fitted = fit_temperature(logits_NC, right_N)

    least = negative_log_likelihood(logits_NC, right_N, fitted)
    assert all(
        negative_log_likelihood(logits_NC, right_N, fitted * factor) >= least for factor in (0.5, 0.95, 1.05, 2.0)
    )


def test_separable_rows_stay_inside_the_limits() -> None:
    logits_NC = np.eye(4, dtype=np.float32) * 9

    assert LEAST <= fit_temperature(logits_NC, np.arange(4)) < 1
    assert 1 < fit_temperature(logits_NC, np.array([1, 2, 3, 0])) <= MOST


def test_no_rows_leave_the_temperature_at_one() -> None:
    assert fit_temperature(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)) == 1.0


@given(temperature=st.floats(LEAST, MOST), seed=st.integers(0, 2**16))
def test_no_temperature_moves_a_label(temperature: float, seed: int) -> None:
    logits_NC = np.random.default_rng(seed).normal(0, 3, (20, 5)).astype(np.float32)
    head = ClassifyHead(
        name="label", output="logits_label", problem_type="single_label", labels=list("abcde"), temperature=temperature
    )

    probs_NC = probabilities(head, logits_NC)

    best_N = logits_NC.argmax(axis=1)
    assert np.array_equal(probs_NC[np.arange(20), best_N], probs_NC.max(axis=1))


def test_the_hidden_temperature_of_labels_is_found() -> None:
    rng = np.random.default_rng(8)
    logits_NC = rng.normal(-1, 2, (4000, 5)).astype(np.float32)
    right_NC = rng.random(logits_NC.shape) < 1 / (1 + np.exp(-logits_NC))

    assert fit_label_temperature(logits_NC * np.float32(2.5), right_NC) == pytest.approx(2.5, rel=0.05)
    assert fit_label_temperature(logits_NC[:0], right_NC[:0]) == 1.0


def test_the_likelihood_of_a_label_is_its_formula_without_overflow() -> None:
    logits_NC, right_NC = np.array([[2.0, -1e4]], np.float32), np.array([[True, False]])

    found = binary_log_likelihood(logits_NC, right_NC, 1.0)

    assert found == pytest.approx(-np.log(1 / (1 + np.exp(-2.0))) / 2)
