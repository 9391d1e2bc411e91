"""What does a head say of its texts, and where is it too close to call?

One label, or every label from its threshold on, as the service gives them (app/tasks/classify.py). B rows, C labels.
"""

import numpy as np
from numpy.typing import NDArray

from app.bundle.manifest import ClassifyHead
from app.bundle.scoring import probabilities, thresholds

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

CLEAR_MARGIN = 1e-4  # two logits closer than this may change places, and a logit this near to its threshold sides


def decisions(head: ClassifyHead, logits_BC: Floats) -> Bools:
    """Which labels each row is given, [B, C]; of a regression [B, 0], for it decides nothing."""
    if head.problem_type == "regression":
        return np.zeros((len(logits_BC), 0), bool)
    if head.problem_type == "multi_label":
        return probabilities(head, logits_BC) >= thresholds(head)
    given_BC = np.zeros(logits_BC.shape, bool)
    given_BC[np.arange(len(logits_BC)), logits_BC.argmax(axis=1)] = True
    return given_BC


def unsure(head: ClassifyHead, logits_BC: Floats) -> Bools:
    """Which of `decisions` the rounding of another runtime may change, in their shape."""
    if head.problem_type == "regression":
        return np.zeros((len(logits_BC), 0), bool)
    if head.problem_type == "multi_label":
        limits_C = thresholds(head).astype(np.float64)
        with np.errstate(divide="ignore"):  # thresholds of 0 and 1 are the infinite logits
            limits_C = (np.log(limits_C) - np.log1p(-limits_C)) * head.temperature
        near_BC: Bools = np.abs(logits_BC - limits_C) <= CLEAR_MARGIN
        return near_BC
    return np.repeat(margins(logits_BC)[:, None] <= CLEAR_MARGIN, logits_BC.shape[1], axis=1)


def margins(logits_BC: Floats) -> Floats:
    """The distance of the two best values of each row; infinite for a single label."""
    if logits_BC.shape[1] < 2:
        return np.full(len(logits_BC), np.inf, np.float32)
    best_B2 = np.sort(logits_BC, axis=1)[:, -2:]
    margin_B: Floats = best_B2[:, 1] - best_B2[:, 0]
    return margin_B
