"""What is the task on the test split, told by a graph's outputs alone?

The same figures as in training (training/finetune.py), but by the manifest's labels in the manifest's order: a label
list that does not belong to the graph shows here. N rows, C labels, D dimensions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, EmbedHead
from app.bundle.scoring import unit
from training.data.collate import Input
from training.data.rows import Row
from training.export.compare import LOGIT_LIMIT, VECTOR_LIMIT, Floats, Outputs
from training.export.decisions import decisions, unsure
from training.metrics import cosines, label_figures, macro_f1, mean_absolute_error, spearman
from training.objectives.regression import values
from training.objectives.similarity import scores_of
from training.recipe.heads import ProblemType


@dataclass(frozen=True, slots=True)
class Exam:
    """Texts, or rows of numbers, and how to judge the outputs for them: the metric, and how far rows that are too close
    to call might move it.
    """

    head: str
    metric: str
    texts: Sequence[Input]
    judge: Callable[[Outputs], tuple[float, float]]
    rows: int


def make_exam(head: EmbedHead | ClassifyHead, test: Sequence[Row]) -> Exam | None:
    """Accuracy for one label a text, macro-F1 for several, the mean absolute error for a value; for an embedder
    Spearman's correlation with the scores, where rows have any, else recall at 1. None without test rows.
    """
    if not test:
        return None
    if isinstance(head, ClassifyHead):
        return BY_TYPE[head.problem_type](head, test)
    return _retrieval(head.name, test) if test[0].score is None else _similarity(head.name, test)


def _single_label(head: ClassifyHead, test: Sequence[Row]) -> Exam:
    def judge(outputs: Outputs) -> tuple[float, float]:
        logits_NC = outputs[head.output]
        found = [head.labels[index] for index in logits_NC.argmax(axis=1)]
        hits = sum(label == row.label for label, row in zip(found, test, strict=True))
        return hits / len(test), float(unsure(head, logits_NC).any(axis=1).mean())

    return Exam(head.name, "accuracy", [row.input for row in test], judge, len(test))


def _multi_label(head: ClassifyHead, test: Sequence[Row]) -> Exam:
    right_NC = np.array([[label in row.all_labels for label in head.labels] for row in test])

    def judge(outputs: Outputs) -> tuple[float, float]:
        logits_NC = outputs[head.output]
        given_NC, unsure_NC = decisions(head, logits_NC), unsure(head, logits_NC)
        ends = (np.where(unsure_NC, side_NC, given_NC) for side_NC in (right_NC, ~right_NC))
        best, worst = (macro_f1(label_figures(end_NC, right_NC)) for end_NC in ends)
        return macro_f1(label_figures(given_NC, right_NC)), best - worst

    return Exam(head.name, "macro_f1", [row.input for row in test], judge, len(test))


def _regression(head: ClassifyHead, test: Sequence[Row]) -> Exam:
    right_N = values(test)
    unit = max(1.0, float(np.abs(right_N).max()))

    def judge(outputs: Outputs) -> tuple[float, float]:
        return mean_absolute_error(right_N, outputs[head.output][:, 0].astype(np.float64)), LOGIT_LIMIT * unit

    return Exam(head.name, "mae", [row.input for row in test], judge, len(test))


BY_TYPE: Mapping[ProblemType, Callable[[ClassifyHead, Sequence[Row]], Exam]] = {
    "single_label": _single_label,
    "multi_label": _multi_label,
    "regression": _regression,
}


def _retrieval(name: str, test: Sequence[Row]) -> Exam:
    """Each text against the positives of all rows; a positive that stands there twice competes once."""
    positives = [row.positive or "" for row in test]

    def judge(outputs: Outputs) -> tuple[float, float]:
        vectors = unit(outputs[EMBEDDING_OUTPUT])
        leads_N = _leads(vectors[: len(test)], vectors[len(test) :], positives)
        return float(np.mean(leads_N > 0)), float((np.abs(leads_N) <= 2 * VECTOR_LIMIT).mean())

    return Exam(name, "recall_at_1", [row.text for row in test] + positives, judge, len(test))


def _similarity(name: str, test: Sequence[Row]) -> Exam:
    """The cosine of each pair against its score."""
    scores_N = scores_of(test)

    def judge(outputs: Outputs) -> tuple[float, float]:
        vectors = outputs[EMBEDDING_OUTPUT]
        cosines_N = cosines(vectors[: len(test)], vectors[len(test) :])
        return spearman(cosines_N, scores_N), _rank_slack(cosines_N, scores_N)

    return Exam(name, "spearman", [row.text for row in test] + [row.positive or "" for row in test], judge, len(test))


def _rank_slack(cosines_N: Floats, scores_N: NDArray[np.float64]) -> float:
    """By how much Spearman's correlation changes at most, if cosines that are too close to call change places: the rank
    of each moves by the number of those at most.
    """
    ordered_N = np.sort(cosines_N)
    above_N = np.searchsorted(ordered_N, cosines_N + 2 * VECTOR_LIMIT, side="right")
    shifts_N = above_N - np.searchsorted(ordered_N, cosines_N - 2 * VECTOR_LIMIT, side="left") - 1
    ranks_N, others_N = (rankdata(values_N) - (len(values_N) + 1) / 2 for values_N in (scores_N, cosines_N))
    norm = np.sqrt((ranks_N @ ranks_N) * (others_N @ others_N))
    return float(shifts_N @ np.abs(ranks_N) / norm) if norm else 1.0


def _leads(queries_ND: Floats, candidates_ND: Floats, texts: Sequence[str]) -> Floats:
    """By how much each query's own candidate beats the best other one, in cosine; negative when it does not."""
    _, first, place_N = np.unique(np.array(texts, dtype=object), return_index=True, return_inverse=True)
    leads = np.empty(len(texts), np.float32)
    for row, query_D in enumerate(queries_ND):
        scores = candidates_ND[first] @ query_D
        own = scores[place_N[row]]
        scores[place_N[row]] = -np.inf
        leads[row] = own - scores.max()
    return leads
