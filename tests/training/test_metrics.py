"""Figures agree with scikit-learn where it has them, and with hand counts where it has not."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix as reference_confusion
from sklearn.metrics import precision_recall_fscore_support

from training.metrics import (
    Bin,
    accuracy,
    class_figures,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    pearson,
    reliability,
    retrieval_ranks,
    spearman,
)

RIGHT = np.random.default_rng(1).integers(0, 5, 200)
PREDICTED = np.where(np.random.default_rng(2).random(200) < 0.7, RIGHT, np.random.default_rng(3).integers(0, 5, 200))


def test_confusion_and_class_figures_equal_scikit_learn() -> None:
    matrix_CC = confusion_matrix(RIGHT, PREDICTED, 5)
    figures = class_figures(matrix_CC)

    assert np.array_equal(matrix_CC, reference_confusion(RIGHT, PREDICTED))
    expected = np.array(precision_recall_fscore_support(RIGHT, PREDICTED)).T
    found = np.array([[one.precision, one.recall, one.f1, one.support] for one in figures])
    assert np.allclose(found, expected)
    assert np.isclose(macro_f1(figures), expected[:, 2].mean())
    assert accuracy(RIGHT, PREDICTED) == np.trace(matrix_CC) / 200


def test_labels_without_rows_do_not_pull_macro_f1_down() -> None:
    right_N = np.array([0, 1])

    figures = class_figures(confusion_matrix(right_N, right_N, 3))

    assert figures[2].support == 0
    assert macro_f1(figures) == 1.0


def test_calibration_error_is_the_weighted_gap_between_confidence_and_accuracy() -> None:
    probs_NC = np.array([[0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [0.45, 0.55]], np.float32)

    bins = reliability(probs_NC, np.array([0, 1, 0, 1]), bins=5)

    assert [one.rows for one in bins] == [0, 0, 2, 0, 2]
    assert expected_calibration_error(bins) == pytest.approx(0.5 * abs(0.55 - 1.0) + 0.5 * abs(0.9 - 0.5))


def test_a_sure_and_right_classifier_has_no_calibration_error() -> None:
    bins = reliability(np.eye(3, dtype=np.float32), np.arange(3))

    assert expected_calibration_error(bins) == 0
    assert bins[-1] == Bin(rows=3, confidence=1.0, accuracy=1.0)


def test_rank_counts_the_candidates_that_score_as_high() -> None:
    queries_ND = np.eye(3, dtype=np.float32)
    candidates_ND = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 1]], np.float32)

    ranks = retrieval_ranks(queries_ND, candidates_ND, ["a", "b", "c"])

    assert ranks.tolist() == [1, 3, 2]


def test_constant_vectors_earn_the_last_rank() -> None:
    constant_ND = np.ones((4, 2), np.float32)

    assert retrieval_ranks(constant_ND, constant_ND, list("abcd")).tolist() == [4, 4, 4, 4]


def test_a_candidate_with_the_right_text_is_no_rival() -> None:
    constant_ND = np.ones((3, 2), np.float32)

    assert retrieval_ranks(constant_ND, constant_ND, ["a", "a", "a"]).tolist() == [1, 1, 1]


def test_correlations_are_those_of_scipy_and_constants_have_none() -> None:
    generator = np.random.default_rng(4)
    a_N = generator.standard_normal(100).astype(np.float32)
    b_N = np.round(a_N + generator.standard_normal(100), 0)  # with many ties

    assert spearman(a_N, b_N) == pytest.approx(stats.spearmanr(a_N, b_N).statistic)
    assert pearson(a_N, b_N) == pytest.approx(stats.pearsonr(a_N, b_N).statistic, abs=1e-6)
    assert spearman(np.full(5, 0.1, np.float32), np.arange(5)) == 0.0
