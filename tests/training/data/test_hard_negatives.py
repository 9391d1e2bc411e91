"""A hard negative is near and no match: what is too near, equal or right is passed over, and counted."""

import numpy as np
import pytest
import torch

from training.data import hard_negatives
from training.data.hard_negatives import Search, candidates_of, mine, own_candidates
from training.data.rows import Row


def unit(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 6, generator=generator), dim=1)


def pair(text: str, positive: str) -> Row:
    return Row(text, "pairs:1", positive=positive)


def test_candidates_are_positives_and_corpus_each_once() -> None:
    rows = [pair("a", "One"), pair("b", "two"), pair("c", " one")]

    assert candidates_of(rows, ["three", "TWO", "four"]) == ["One", "two", "three", "four"]


def test_the_text_itself_and_every_positive_of_it_are_its_own() -> None:
    rows = [pair("a", "one"), pair("A ", "two"), pair("b", "a"), pair("c", "three")]

    assert own_candidates(rows, ["one", "two", "a", "three", "C"]) == [[0, 1, 2], [0, 1, 2], [2], [3, 4]]


@pytest.mark.parametrize("margin", [(0.0, False), (0.3, False), (0.2, True)], ids=["none", "share", "cosine"])
@pytest.mark.parametrize("per_row", [1, 3, 50])
def test_blocks_find_what_a_look_at_every_pair_finds(
    per_row: int, margin: tuple[float, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hard_negatives, "QUERIES", 7)
    monkeypatch.setattr(hard_negatives, "CANDIDATES", 5)
    texts, positives, candidates = unit(23, 1), unit(23, 2), unit(31, 3)
    own = [[row, row + 3] for row in range(23)]

    mined = mine(texts, positives, candidates, own, Search(per_row, *margin))

    scores_NM = (texts @ candidates.T).numpy()
    too_near = 0
    for row in range(23):
        positive = float(texts[row] @ positives[row])
        limit = positive - (margin[0] if margin[1] else margin[0] * abs(positive))
        others = [number for number in range(31) if number not in own[row]]
        near = sorted((-scores_NM[row, number], number) for number in others if scores_NM[row, number] <= limit)
        assert mined.negatives[row] == [number for _, number in near[:per_row]]
        too_near += len(others) - len(near)
    assert (mined.too_near, mined.own) == (too_near, 46)


def test_of_equal_scores_the_first_candidate_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hard_negatives, "CANDIDATES", 2)
    text = torch.tensor([[1.0, 0.0]])
    candidates = torch.tensor(np.tile([[0.6, 0.8]], (6, 1)), dtype=torch.float32)

    assert mine(text, text, candidates, [[]], Search(per_row=2)).negatives == [[0, 1]]


def test_a_pair_may_have_no_negative() -> None:
    text = torch.tensor([[1.0, 0.0]])

    mined = mine(text, text, torch.tensor([[0.99, 0.14]]), [[]], Search(per_row=2))

    assert (mined.negatives, mined.too_near) == ([[]], 1)
