"""Which answers were most wrong, and where?

The texts of mistakes are data: they are written beside the run, never into a bundle. N rows, C labels.
"""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.rows import Row

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
MISTAKES_FILE = "report/mistakes.jsonl"
SHOWN = 100
LENGTH_PARTS = 4


def worst_mistakes(rows: Sequence[Row], probs_NC: Floats, targets_N: Ints, labels: Sequence[str]) -> bytes:
    """A JSON line for each wrong answer, the surest first: text, place, its label, the answer, the scores of both."""
    best_N = probs_NC.argmax(axis=1)
    wrong = np.flatnonzero(best_N != targets_N)
    surest = wrong[np.argsort(-probs_NC[wrong, best_N[wrong]], kind="stable")][:SHOWN]
    lines = [
        {
            **_shown(rows[row]),
            "label": labels[targets_N[row]],
            "answer": labels[best_N[row]],
            "score": round(float(probs_NC[row, best_N[row]]), 4),
            "score_of_label": round(float(probs_NC[row, targets_N[row]]), 4),
        }
        for row in surest
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def worst_label_sets(
    rows: Sequence[Row], probs_NC: Floats, given_NC: Bools, right_NC: Bools, labels: Sequence[str]
) -> bytes:
    """`worst_mistakes` where a row may have several labels: those first whose wrong labels are the furthest off. The
    scores are those of the labels that are missing or too many.
    """
    wrong_NC = given_NC != right_NC
    distance_N = (np.abs(probs_NC - right_NC) * wrong_NC).max(axis=1)
    worst = [row for row in np.argsort(-distance_N, kind="stable")[:SHOWN] if wrong_NC[row].any()]

    def named(are_there_C: Bools) -> list[str]:
        return [label for label, is_there in zip(labels, are_there_C, strict=True) if is_there]

    lines = [
        {
            **_shown(rows[row]),
            "labels": named(right_NC[row]),
            "answer": named(given_NC[row]),
            "scores": {label: round(float(probs_NC[row, labels.index(label)]), 4) for label in named(wrong_NC[row])},
        }
        for row in worst
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def worst_values(rows: Sequence[Row], right_N: NDArray[np.float64], found_N: NDArray[np.float64]) -> bytes:
    """A JSON line for each of the values that are furthest off: text, place, its value, the answer."""
    worst = np.argsort(-np.abs(right_N - found_N), kind="stable")[:SHOWN]
    lines = [{**_shown(rows[row]), "value": right_N[row], "answer": round(found_N[row], 4)} for row in worst]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _shown(row: Row) -> dict[str, str]:
    """Its text and its place; numbers are found by their place."""
    return ({"text": row.text} if row.vector is None else {}) | {"where": row.where}


def by_length(lengths_N: Ints, right_N: Bools, figure: str = "accuracy") -> list[dict[str, float]]:
    """The share of right answers, called `figure`, in parts of like length in tokens, a quarter of the rows each as far
    as equal lengths allow.
    """
    edges = np.unique(np.quantile(lengths_N, np.linspace(0, 1, LENGTH_PARTS + 1)[1:], method="higher"))
    place_N = np.searchsorted(edges, lengths_N)
    parts = []
    for place in range(len(edges)):
        inside_N = place_N == place
        part = {"tokens_from": int(lengths_N[inside_N].min()), "tokens_to": int(lengths_N[inside_N].max())}
        parts.append({**part, "rows": int(inside_N.sum()), figure: float(right_N[inside_N].mean())})
    return parts
