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
            **({"text": rows[row].text} if rows[row].vector is None else {}),  # numbers are found by their place
            "where": rows[row].where,
            "label": labels[targets_N[row]],
            "answer": labels[best_N[row]],
            "score": round(float(probs_NC[row, best_N[row]]), 4),
            "score_of_label": round(float(probs_NC[row, targets_N[row]]), 4),
        }
        for row in surest
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def by_length(lengths_N: Ints, right_N: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Accuracy in parts of like length in tokens, a quarter of the rows each as far as equal lengths allow."""
    edges = np.unique(np.quantile(lengths_N, np.linspace(0, 1, LENGTH_PARTS + 1)[1:], method="higher"))
    place_N = np.searchsorted(edges, lengths_N)
    parts = []
    for place in range(len(edges)):
        inside_N = place_N == place
        part = {"tokens_from": int(lengths_N[inside_N].min()), "tokens_to": int(lengths_N[inside_N].max())}
        parts.append({**part, "rows": int(inside_N.sum()), "accuracy": float(right_N[inside_N].mean())})
    return parts
