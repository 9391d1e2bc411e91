"""What stands between a graph's outputs and the numbers that a caller reads?

The graph ends in unnormalised vectors and raw logits; these two functions are the only way from there to unit
vectors and probabilities, in the gate, at load and in every answer. B rows, D dimensions, C labels.
"""

import numpy as np
from numpy.typing import NDArray

from app.bundle.manifest import ClassifyHead

Floats = NDArray[np.float32]
MULTI_LABEL_THRESHOLD = 0.5  # a label is given when it is likelier than not, until its own threshold was fitted


def unit(vectors_BD: Floats) -> Floats:
    """Rows scaled to L2 norm 1; a zero row stays zero."""
    norms_B1 = np.sqrt((vectors_BD * vectors_BD).sum(axis=1, keepdims=True))  # np.linalg.norm's sum, without its ways
    unit_BD: Floats = (vectors_BD / np.maximum(norms_B1, 1e-12)).astype(np.float32, copy=False)
    return unit_BD


def probabilities(head: ClassifyHead, logits_BC: Floats) -> Floats:
    """Calibrated scores: softmax over labels, one sigmoid a label, or the value itself for regression."""
    if head.problem_type == "regression":
        return logits_BC
    scaled_BC = logits_BC.astype(np.float64) / head.temperature
    if head.problem_type == "multi_label":
        scores_BC = 0.5 * (1.0 + np.tanh(0.5 * scaled_BC))  # the sigmoid, without overflow
    else:
        powers_BC = np.exp(scaled_BC - scaled_BC.max(axis=1, keepdims=True))
        scores_BC = powers_BC / powers_BC.sum(axis=1, keepdims=True)
    return np.asarray(scores_BC, np.float32)


def thresholds(head: ClassifyHead) -> Floats:
    """The probability from which on each label of a multi-label head is given, [C]."""
    return np.array([head.thresholds.get(label, MULTI_LABEL_THRESHOLD) for label in head.labels], np.float32)
