"""What is the task on the test split, told by a graph's outputs alone?

The same figures as in training (training/finetune.py), but by the manifest's labels in the manifest's order: a label
list that does not belong to the graph shows here. N rows, C labels, D dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, EmbedHead
from app.bundle.scoring import unit
from training.data.collate import Input
from training.data.rows import Row
from training.export.compare import CLEAR_MARGIN, VECTOR_LIMIT, Floats, Outputs, margins


@dataclass(frozen=True, slots=True)
class Exam:
    """Texts, or rows of numbers, and how to judge the outputs for them: the metric, and how many rows are too close to
    call.
    """

    metric: str
    texts: Sequence[Input]
    judge: Callable[[Outputs], tuple[float, int]]
    rows: int


def make_exam(head: EmbedHead | ClassifyHead, test: Sequence[Row]) -> Exam | None:
    """Accuracy for a classifier, recall at 1 for an embedder; None without test rows."""
    if not test:
        return None
    if isinstance(head, ClassifyHead):
        return _classification(head, test)
    return _retrieval(test)


def _classification(head: ClassifyHead, test: Sequence[Row]) -> Exam:
    def judge(outputs: Outputs) -> tuple[float, int]:
        logits_NC = outputs[head.output]
        found = [head.labels[index] for index in logits_NC.argmax(axis=1)]
        hits = sum(label == row.label for label, row in zip(found, test, strict=True))
        return hits / len(test), int((margins(logits_NC) <= CLEAR_MARGIN).sum())

    return Exam("accuracy", [row.input for row in test], judge, len(test))


def _retrieval(test: Sequence[Row]) -> Exam:
    """Each text against the positives of all rows; a positive that stands there twice competes once."""
    positives = [row.positive or "" for row in test]

    def judge(outputs: Outputs) -> tuple[float, int]:
        vectors = unit(outputs[EMBEDDING_OUTPUT])
        leads_N = _leads(vectors[: len(test)], vectors[len(test) :], positives)
        return float(np.mean(leads_N > 0)), int((np.abs(leads_N) <= 2 * VECTOR_LIMIT).sum())

    return Exam("recall_at_1", [row.text for row in test] + positives, judge, len(test))


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
