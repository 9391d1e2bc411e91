"""From which score on does a text belong to some label?

The threshold lets through all but a chosen share of the dev rows that do belong (false alarms). Which score is used is
the recipe's choice, or that of dev rows that are labelled as belonging nowhere: the one that tells them apart best.
N rows, M rows out of scope, C labels, D dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, OutOfScope, ScopeScore
from app.bundle.scope import Statistics, scope_scores

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Outputs = Mapping[str, Floats]
SCORES: tuple[ScopeScore, ...] = get_args(ScopeScore)


@dataclass(frozen=True, slots=True)
class Parts:
    """Outputs of the model for the rows of a split that have a label, and for those of none, if there are any."""

    inside: Outputs
    outside: Outputs | None


def fit_statistics(vectors_ND: Floats, targets_N: Ints, labels: int) -> Statistics:
    """Class means and the covariance around them, of training vectors as the graph gives them.

    The covariance is shrunk (Ledoit and Wolf 2004), so that it can be inverted however few the rows are.
    """
    vectors_ND = vectors_ND.astype(np.float64)
    means_CD = np.stack([vectors_ND[targets_N == label].mean(axis=0) for label in range(labels)])
    covariance_DD, _ = ledoit_wolf(vectors_ND - means_CD[targets_N], assume_centered=True)
    values_D, axes_DD = np.linalg.eigh(covariance_DD)
    whiten_DD = axes_DD / np.sqrt(values_D)
    return Statistics(whiten_DD.astype(np.float32), (means_CD @ whiten_DD).astype(np.float32))


def choose_score(
    head: ClassifyHead, dev: Parts, statistics: Statistics | None
) -> tuple[ScopeScore, dict[ScopeScore, float]]:
    """The score that tells dev rows of no label, which there must be, apart best; the AUROC of each."""
    assert dev.outside is not None
    aurocs = {
        score: auroc(_of(score, head, dev.inside, statistics), _of(score, head, dev.outside, statistics))
        for score in SCORES
    }
    return max(SCORES, key=lambda score: aurocs[score]), aurocs


def threshold_for(
    score: ScopeScore, head: ClassifyHead, dev: Parts, statistics: Statistics | None, false_alarms: float
) -> float:
    """The score that all but this share of the dev rows reach."""
    inside_N = np.sort(_of(score, head, dev.inside, statistics))
    return float(inside_N[int(false_alarms * len(inside_N))])


def scope_figures(rule: OutOfScope, head: ClassifyHead, part: Parts, statistics: Statistics | None) -> dict[str, float]:
    """What the rule does to rows that chose nothing: the share of false alarms, and if there are rows out of scope, the
    AUROC and the share of them that is found (recall).
    """
    inside_N = _of(rule.score, head, part.inside, statistics)
    figures = {"false_alarms": float(np.mean(inside_N < rule.threshold))}
    if part.outside is not None:
        outside_M = _of(rule.score, head, part.outside, statistics)
        figures |= {"auroc": auroc(inside_N, outside_M), "recall": float(np.mean(outside_M < rule.threshold))}
    return figures


def auroc(inside_N: Floats, outside_M: Floats) -> float:
    """How likely a row of some label scores above one of none: 1 tells all apart, 0.5 none."""
    are_inside = np.repeat([1, 0], [len(inside_N), len(outside_M)])
    return float(roc_auc_score(are_inside, np.concatenate([inside_N, outside_M])))


def _of(score: ScopeScore, head: ClassifyHead, outputs: Outputs, statistics: Statistics | None) -> Floats:
    return scope_scores(score, head, outputs[head.output], outputs[EMBEDDING_OUTPUT], statistics)
