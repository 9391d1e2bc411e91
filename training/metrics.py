"""How good are the answers?

Plain functions on arrays. N rows, C labels, D dimensions; labels are numbers 0 … C-1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from app.bundle.scoring import unit

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
ECE_BINS = 15  # as in arXiv:1706.04599


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One label: precision, recall and F1 are 0 where they have no denominator; `support` is its number of rows."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of like confidence: how many, how sure they were on average, how many of them were right."""

    rows: int
    confidence: float
    accuracy: float


def accuracy(targets_N: Ints, predicted_N: Ints) -> float:
    """The share of right answers."""
    return float(np.mean(targets_N == predicted_N))


def confusion_matrix(targets_N: Ints, predicted_N: Ints, labels: int) -> Ints:
    """Rows [C, C] of right labels, columns of predicted ones."""
    matrix_CC = np.zeros((labels, labels), np.int64)
    np.add.at(matrix_CC, (targets_N, predicted_N), 1)
    return matrix_CC


def class_figures(matrix_CC: Ints) -> list[ClassFigures]:
    """The figures of each label, from the confusion matrix."""
    return _figures(np.diagonal(matrix_CC), matrix_CC.sum(axis=0), matrix_CC.sum(axis=1))


def label_figures(given_NC: Bools, right_NC: Bools) -> list[ClassFigures]:
    """The figures of each label, where a row may have several."""
    return _figures((given_NC & right_NC).sum(axis=0), given_NC.sum(axis=0), right_NC.sum(axis=0))


def _figures(hits_C: Ints, predicted_C: Ints, support_C: Ints) -> list[ClassFigures]:
    return [
        ClassFigures(
            precision=float(hits / predicted) if predicted else 0.0,
            recall=float(hits / support) if support else 0.0,
            f1=float(2 * hits / (predicted + support)) if predicted + support else 0.0,
            support=int(support),
        )
        for hits, predicted, support in zip(hits_C, predicted_C, support_C, strict=True)
    ]


def macro_f1(figures: list[ClassFigures]) -> float:
    """Mean F1 over the labels that stand in the split: a label without rows there cannot be judged."""
    judged = [figure.f1 for figure in figures if figure.support]
    return float(np.mean(judged)) if judged else 0.0


def micro_f1(given_NC: Bools, right_NC: Bools) -> float:
    """F1 of all labels of all rows together; 1 where none is right and none given."""
    both = int(given_NC.sum()) + int(right_NC.sum())
    return 2 * int((given_NC & right_NC).sum()) / both if both else 1.0


def macro_average_precision(scores_NC: Floats, right_NC: Bools) -> float:
    """The mean over the labels that stand in the split of the area under precision by recall: 1 where every row of a
    label scores above every other, whatever the threshold.
    """
    there_C = right_NC.any(axis=0)
    return float(average_precision_score(right_NC[:, there_C], scores_NC[:, there_C])) if there_C.any() else 0.0


def reliability(probs_NC: Floats, targets_N: Ints, bins: int = ECE_BINS) -> list[Bin]:
    """Bins of equal width over the best probability; empty bins have zeros."""
    return binned(probs_NC.max(axis=1), probs_NC.argmax(axis=1) == targets_N, bins)


def binned(confidence_N: Floats, right_N: Bools, bins: int = ECE_BINS) -> list[Bin]:
    """`reliability` of any statements, each made with a confidence, of which some are right."""
    confidences_N = confidence_N.astype(np.float64)
    place_N = np.clip(np.ceil(confidences_N * bins).astype(int) - 1, 0, bins - 1)
    filled = []
    for place in range(bins):
        inside_N = place_N == place
        rows = int(inside_N.sum())
        filled.append(
            Bin(rows, float(confidences_N[inside_N].mean()), float(right_N[inside_N].mean())) if rows else Bin(0, 0, 0)
        )
    return filled


def expected_calibration_error(bins: list[Bin]) -> float:
    """Mean distance of confidence and accuracy, weighted by rows (arXiv:1706.04599 §2)."""
    rows = sum(one.rows for one in bins)
    return sum(one.rows * abs(one.confidence - one.accuracy) for one in bins) / rows if rows else 0.0


def brier_score(probs_NC: Floats, targets_N: Ints) -> float:
    """Mean squared distance of the probabilities to the right answer, summed over labels: 0 is best, 2 worst (Brier
    1950).
    """
    right_NC = np.zeros(probs_NC.shape)
    right_NC[np.arange(len(targets_N)), targets_N] = 1
    return float(((probs_NC - right_NC) ** 2).sum(axis=1).mean())


def mean_absolute_error(values_N: NDArray[np.float64], found_N: NDArray[np.float64]) -> float:
    """In units of the values."""
    return float(np.abs(values_N - found_N).mean())


def root_mean_squared_error(values_N: NDArray[np.float64], found_N: NDArray[np.float64]) -> float:
    """In units of the values; far misses weigh more than in the mean absolute error."""
    return float(np.sqrt(((values_N - found_N) ** 2).mean()))


def r_squared(values_N: NDArray[np.float64], found_N: NDArray[np.float64]) -> float:
    """The share of the variance of the values that is explained: 1 is perfect, 0 is what their mean would reach."""
    variance = float(((values_N - values_N.mean()) ** 2).mean())
    return 1 - float(((values_N - found_N) ** 2).mean()) / variance if variance else 0.0


def retrieval_ranks(queries_ND: Floats, candidates_ND: Floats, texts: list[str]) -> Ints:
    """The rank of each query's own candidate among all, by cosine; 1 is first.

    Args:
        queries_ND: unit vectors.
        candidates_ND: unit vectors; row i answers query i.
        texts: what stands behind each candidate. A candidate with the text of the right one is no rival; one with
            an equal score is, so that constant vectors earn nothing.
    """
    ids_N = np.unique(np.array(texts, dtype=object), return_inverse=True)[1]
    _, first = np.unique(ids_N, return_index=True)  # each text competes once
    ranks = np.empty(len(texts), np.int64)
    for row, query_D in enumerate(queries_ND):
        scores = candidates_ND[first] @ query_D
        ranks[row] = int((scores >= scores[ids_N[row]]).sum())  # itself included: 1 when it beats all others
    return ranks


def cosines(first_ND: Floats, second_ND: Floats) -> Floats:
    """The cosine [N] of row i with row i."""
    cosine_N: Floats = (unit(first_ND) * unit(second_ND)).sum(axis=1)
    return cosine_N


def pearson(a_N: NDArray[Any], b_N: NDArray[Any]) -> float:
    """The linear correlation, from -1 to 1; 0 where either is constant and so tells nothing."""
    if np.ptp(a_N) == 0 or np.ptp(b_N) == 0:
        return 0.0
    a_N, b_N = a_N - np.mean(a_N, dtype=np.float64), b_N - np.mean(b_N, dtype=np.float64)
    return float(a_N @ b_N / np.sqrt((a_N @ a_N) * (b_N @ b_N)))


def spearman(a_N: NDArray[Any], b_N: NDArray[Any]) -> float:
    """The correlation of the ranks, of which equal values share one; 0 where either is constant."""
    return pearson(rankdata(a_N), rankdata(b_N))
