"""The surest mistakes come first; lengths part the rows without losing one."""

import json

import numpy as np
import pytest

from training.data.rows import Row
from training.evaluation.mistakes import by_length, worst_mistakes


def test_wrong_answers_stand_there_the_surest_first() -> None:
    rows = [Row(text, f"f.csv:{line}", label="a") for line, text in enumerate(["right", "unsure", "sure"], 2)]
    probs_NC = np.array([[0.9, 0.1], [0.4, 0.6], [0.01, 0.99]], np.float32)

    lines = [
        json.loads(line) for line in worst_mistakes(rows, probs_NC, np.zeros(3, np.int64), ["a", "b"]).splitlines()
    ]

    assert [line["text"] for line in lines] == ["sure", "unsure"]
    assert lines[0] == {
        "text": "sure", "where": "f.csv:4", "label": "a", "answer": "b", "score": 0.99, "score_of_label": 0.01,
    }  # fmt: skip


@pytest.mark.parametrize("lengths", [list(range(2, 42)), [7] * 10, [3, 3, 3, 90]], ids=["spread", "equal", "lopsided"])
def test_parts_hold_every_row_once(lengths: list[int]) -> None:
    right_N = np.arange(len(lengths)) % 3 > 0

    parts = by_length(np.array(lengths), right_N)

    assert sum(part["rows"] for part in parts) == len(lengths)
    assert parts[0]["tokens_from"] == min(lengths)
    assert parts[-1]["tokens_to"] == max(lengths)
    assert sum(part["rows"] * part["accuracy"] for part in parts) == pytest.approx(right_N.sum())
