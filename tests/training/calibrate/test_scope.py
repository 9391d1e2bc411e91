"""What fits no label scores lower, by each of the scores, and the best of them is found."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, OutOfScope
from app.bundle.scope import scope_scores
from training.calibrate.scope import Parts, auroc, choose_score, fit_statistics, scope_figures, threshold_for

HEAD = ClassifyHead(
    name="label", output="logits_label", problem_type="single_label", labels=list("abc"), temperature=2.0
)
WIDTH = 6
Floats = NDArray[np.float32]


def vectors(rows: int, seed: int, *, away: float = 0.0) -> tuple[Floats, NDArray[np.int64]]:
    """Three clouds, long in one direction; `away` moves them across it, where nothing was trained."""
    generator = np.random.default_rng(seed)
    targets_N = generator.integers(0, 3, rows)
    found_ND = generator.normal(size=(rows, WIDTH)) * np.array([5, 1, 1, 1, 1, 0.2])
    found_ND[np.arange(rows), 1 + targets_N] += 4
    found_ND[:, -1] += away
    return found_ND.astype(np.float32), targets_N


def test_mahalanobis_is_the_distance_to_the_nearest_mean() -> None:
    train_ND, targets_N = vectors(4000, 1)
    statistics = fit_statistics(train_ND, targets_N, 3)
    rows_BD, _ = vectors(20, 2, away=0.5)

    means_CD = np.stack([train_ND[targets_N == label].mean(axis=0) for label in range(3)]).astype(np.float64)
    covariance_DD, _ = ledoit_wolf(train_ND - means_CD[targets_N], assume_centered=True)
    inverse_DD = np.linalg.inv(covariance_DD)
    away_BCD = rows_BD[:, None, :] - means_CD
    expected_B = -np.einsum("bcd,de,bce->bc", away_BCD, inverse_DD, away_BCD).min(axis=1)
    found_B = scope_scores("mahalanobis", HEAD, np.zeros((20, 3), np.float32), rows_BD, statistics)

    np.testing.assert_allclose(found_B, expected_B, rtol=1e-3)


def test_covariance_of_fewer_rows_than_dimensions_can_be_inverted() -> None:
    train_ND, targets_N = vectors(5, 3)
    targets_N[:3] = [0, 1, 2]

    statistics = fit_statistics(train_ND, targets_N, 3)

    assert np.isfinite(statistics.whiten_DK).all()
    assert np.isfinite(statistics.means_CK).all()


def test_energy_is_the_scaled_log_sum() -> None:
    logits_BC = np.array([[1.0, 2.0, 3.0], [500.0, -500.0, 0.0]], np.float32)

    found_B = scope_scores("energy", HEAD, logits_BC)

    np.testing.assert_allclose(found_B, 2 * logsumexp(logits_BC / 2, axis=1), rtol=1e-6)


def test_the_score_that_tells_rows_apart_is_chosen_and_its_threshold_lets_the_others_through() -> None:
    """Logits tell nothing here: only vectors lie elsewhere."""
    train_ND, targets_N = vectors(500, 4)
    statistics = fit_statistics(train_ND, targets_N, 3)
    generator = np.random.default_rng(5)

    def part(rows: int, seed: int, away: float) -> dict[str, Floats]:
        logits_NC = generator.normal(size=(rows, 3)).astype(np.float32)
        return {HEAD.output: logits_NC, EMBEDDING_OUTPUT: vectors(rows, seed, away=away)[0]}

    dev, test = (Parts(part(200, seed, 0.0), part(100, seed + 1, 3.0)) for seed in (6, 8))
    score, aurocs = choose_score(HEAD, dev, statistics)
    rule = OutOfScope(score=score, threshold=threshold_for(score, HEAD, dev, statistics, 0.05))
    figures = scope_figures(rule, HEAD, test, statistics)

    assert score == "mahalanobis"
    assert aurocs["mahalanobis"] > 0.99 > 0.7 > max(aurocs["energy"], aurocs["max_probability"])
    assert scope_figures(rule, HEAD, dev, statistics)["false_alarms"] == 0.05
    assert figures["false_alarms"] == pytest.approx(0.05, abs=0.05)
    assert figures["recall"] > 0.9


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    assert auroc(np.array([3.0, 2.0], np.float32), np.array([2.0, 1.0], np.float32)) == 0.875
