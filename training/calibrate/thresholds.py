"""From which probability on is a label given?

Each label has its own threshold, the one with the best F1 on dev rows: one threshold for all, 0.5 or another, is right
for few labels of unlike frequency (arXiv:1402.1892: the best threshold is half the F1 that it reaches). A label with
few rows in dev would take its threshold from the chance of those few. So what decides is the mean of its own F1 and of
the F1 of all labels on average (macro-F1) at that threshold, weighted by its rows and by `PSEUDO_ROWS`: ample rows
decide alone, and a label without any gets the threshold that serves all labels best. N rows, C labels, T thresholds.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
# On random parts of GoEmotions' dev rows (300 to 4,000 of them, the rest to judge, three small models over a frozen
# MiniLM) 30 was at most 0.6 points of macro-F1 under the best of 0 to 400; 0 up to 1.7, 400 up to 1.5.
PSEUDO_ROWS = 30.0
CANDIDATES_T = np.round(1 / (1 + np.exp(-np.arange(-50, 51) / 10)), 4)  # even steps of the logit, from 0.0067 to 0.9933


def fit_thresholds(
    probs_NC: Floats, right_NC: Bools, labels: Sequence[str], pseudo_rows: float = PSEUDO_ROWS
) -> dict[str, float]:
    """A threshold for each label; `right_NC` says which labels the rows have.

    Raises:
        ValueError: no row has a label.
    """
    support_C = right_NC.sum(axis=0)
    there_C = support_C > 0
    if not there_C.any():
        raise ValueError("thresholds need a row with a label")
    f1_TC = np.stack([_f1(probs_NC >= np.float32(candidate), right_NC) for candidate in CANDIDATES_T])
    macro_T1 = f1_TC[:, there_C].mean(axis=1, keepdims=True)
    judged_TC = (support_C * f1_TC + pseudo_rows * macro_T1) / (support_C + pseudo_rows)
    return {label: float(CANDIDATES_T[best]) for label, best in zip(labels, judged_TC.argmax(axis=0), strict=True)}


def _f1(given_NC: Bools, right_NC: Bools) -> NDArray[np.float64]:
    """The F1 of each label, [C]; 0 where it is neither right nor given."""
    both_C = given_NC.sum(axis=0) + right_NC.sum(axis=0)
    f1_C: NDArray[np.float64] = 2 * (given_NC & right_NC).sum(axis=0) / np.maximum(both_C, 1)
    return f1_C
