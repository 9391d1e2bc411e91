"""Which labels hold the right one, with a chosen certainty?

Split-conformal prediction (arXiv:2107.07511 §1, with the score 1 - p of arXiv:1609.00451): a label is in the set of a
text when 1 minus its probability is at most a limit, the ⌈(n + 1) · coverage⌉-th smallest of what the right labels of
n held-out rows have. Sets then hold the right label of new texts like those with at least that probability, whatever
the model; a good model has small ones. N rows, C labels.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def fit_conformal(probs_NC: Floats, targets_N: Ints, coverages: Sequence[float]) -> dict[str, float]:
    """The limit for each coverage, by its decimal. Coverages that need more rows than there are, are left out."""
    scores_N = np.sort(1 - probs_NC[np.arange(len(targets_N)), targets_N])
    ranks = {coverage: math.ceil((len(scores_N) + 1) * coverage) for coverage in coverages}
    return {f"{coverage:g}": float(scores_N[rank - 1]) for coverage, rank in ranks.items() if rank <= len(scores_N)}


def set_figures(probs_NC: Floats, targets_N: Ints, limits: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """By coverage: the share of rows whose set holds the right label, and how many labels a set has on average."""
    figures = {}
    for coverage, limit in limits.items():
        inside_NC = in_set(probs_NC, limit)
        held = inside_NC[np.arange(len(targets_N)), targets_N].mean()
        figures[coverage] = {"held": float(held), "labels": float(inside_NC.sum(axis=1).mean())}
    return figures


def in_set(probs_NC: Floats, limit: float) -> NDArray[np.bool_]:
    """Which labels are in the set of each row; the best one always is, for a set without a label tells nothing."""
    inside_NC = 1 - probs_NC <= np.float32(limit)
    inside_NC[np.arange(len(probs_NC)), probs_NC.argmax(axis=1)] = True
    return inside_NC
