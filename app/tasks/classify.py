"""How do raw logits become predictions?

Scores are the calibrated probabilities of `app.bundle.scoring`, or the logits themselves for `raw_scores`; they are
sorted, best first, and stay float32, so that JSON shows the shortest number that means them. A threshold compares
with the scores that are shown. B rows, C labels.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.bundle.manifest import ClassifyHead
from app.bundle.scope import Statistics, scope_scores
from app.bundle.scoring import probabilities, thresholds
from app.types import Rows

Row = NDArray[np.float32]
Prediction = dict[str, object]


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may choose: how many scores to show, from which score on a label is given, logits or not."""

    top_k: int
    threshold: float | None
    raw_scores: bool


def finish(
    head: ClassifyHead,
    logits_BC: Rows,
    options: Options,
    vectors_BD: Rows | None = None,
    statistics: Statistics | None = None,
) -> list[Prediction]:
    """One prediction per row, in the shape of the head's problem type. The last two are read by a rule of scope."""
    if head.problem_type == "regression":
        return [_value(head, row_C) for row_C in logits_BC]
    options = replace(options, threshold=_as_score(options.threshold))
    probs_BC = probabilities(head, logits_BC)
    scores_BC = logits_BC if options.raw_scores else probs_BC
    order_BC = np.argsort(-scores_BC, axis=1, kind="stable")  # labels of equal score keep the head's order
    if head.problem_type == "multi_label":
        limits_C = _limits(head, options)
        return [
            _multi_label(head, scores_C, order_C, limits_C, options.top_k)
            for scores_C, order_C in zip(scores_BC, order_BC, strict=True)
        ]
    predictions = [
        _single_label(head, scores_C, order_C, options) for scores_C, order_C in zip(scores_BC, order_BC, strict=True)
    ]
    if (rule := head.out_of_scope) is not None:
        scope_B = scope_scores(rule.score, head, logits_BC, vectors_BD, statistics)
        for prediction, score in zip(predictions, scope_B, strict=True):
            prediction["in_scope"] = bool(score >= rule.threshold)
    return predictions


def _as_score(threshold: float | None) -> float | None:
    """The threshold in the scores' own float32, so that a score compares equal to itself; beyond it, infinite."""
    with np.errstate(over="ignore"):
        return None if threshold is None else float(np.float32(threshold))


def _value(head: ClassifyHead, row_C: Row) -> Prediction:
    if len(head.labels) == 1:
        return {"value": row_C[0]}
    return {"value": dict(zip(head.labels, row_C, strict=True))}


def _single_label(head: ClassifyHead, scores_C: Row, order_C: NDArray[np.intp], options: Options) -> Prediction:
    top = _top(head, scores_C, order_C, options.top_k)
    score = scores_C[order_C[0]]
    given = options.threshold is None or bool(score >= options.threshold)
    return {"label": head.labels[order_C[0]] if given else None, "score": score, "scores": top}


def _multi_label(head: ClassifyHead, scores_C: Row, order_C: NDArray[np.intp], limits_C: Row, top_k: int) -> Prediction:
    labels = [head.labels[c] for c in order_C if scores_C[c] >= limits_C[c]]
    return {"labels": labels, "scores": _top(head, scores_C, order_C, top_k)}


def _limits(head: ClassifyHead, options: Options) -> Row:
    """The score from which on each label is given: the caller's, else the fitted one, as a logit where logits are
    shown.
    """
    if options.threshold is not None:
        return np.full(len(head.labels), options.threshold, np.float32)
    fitted_C = thresholds(head)
    if not options.raw_scores:
        return fitted_C
    with np.errstate(divide="ignore"):  # thresholds of 0 and 1 are the infinite logits
        limits_C: Row = (np.log(fitted_C) - np.log1p(-fitted_C)) * np.float32(head.temperature)
    return limits_C


def _top(head: ClassifyHead, scores_C: Row, order_C: NDArray[np.intp], top_k: int) -> list[dict[str, object]]:
    return [{"label": head.labels[c], "score": scores_C[c]} for c in order_C[:top_k]]
