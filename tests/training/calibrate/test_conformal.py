"""Sets hold the right label as often as was chosen, whatever the probabilities are worth."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.calibrate.conformal import fit_conformal, in_set, set_figures

LABELS = 5


def answers(rows: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities that are far too sure of themselves, and the right labels."""
    generator = np.random.default_rng(seed)
    right_N = generator.integers(0, LABELS, rows)
    logits_NC = generator.normal(size=(rows, LABELS))
    logits_NC[np.arange(rows), right_N] += 1.5
    powers_NC = np.exp(4 * logits_NC)
    return (powers_NC / powers_NC.sum(axis=1, keepdims=True)).astype(np.float32), right_N


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_new_rows_are_covered_as_often_as_chosen(coverage: float) -> None:
    held = []
    for seed in range(100):
        probs_NC, right_N = answers(400, seed)
        limits = fit_conformal(probs_NC[:200], right_N[:200], [coverage])
        held.append(set_figures(probs_NC[200:], right_N[200:], limits)[f"{coverage:g}"]["held"])

    standard_error = np.std(held) / np.sqrt(len(held))
    assert np.mean(held) == pytest.approx(coverage, abs=2 * standard_error + 1 / 200)


def test_the_limit_is_the_score_of_its_rank() -> None:
    """Nineteen rows: the 95th percentile of twenty is the last of them, and 99 % needs ninety-nine."""
    right_p = np.linspace(0.05, 0.95, 19, dtype=np.float32)
    probs_NC = np.stack([right_p, 1 - right_p], axis=1)

    limits = fit_conformal(probs_NC, np.zeros(19, np.int64), [0.5, 0.95, 0.99])

    assert limits == {"0.5": pytest.approx(0.5), "0.95": pytest.approx(0.95)}


def test_a_set_always_has_the_best_label() -> None:
    probs_NC = np.array([[0.4, 0.35, 0.25]], np.float32)

    assert in_set(probs_NC, 0.1).tolist() == [[True, False, False]]
    assert in_set(probs_NC, 0.65).tolist() == [[True, True, False]]


def test_figures_count_rows_and_labels() -> None:
    probs_NC = np.array([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], np.float32)

    figures = set_figures(probs_NC, np.array([0, 1, 0]), {"0.9": 0.61})

    assert figures == {"0.9": {"held": 1.0, "labels": pytest.approx(5 / 3)}}
