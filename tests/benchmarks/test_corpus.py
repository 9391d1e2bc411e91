"""Texts of a benchmark: different, the same every time, of mixed length."""

import random

import pytest

from benchmarks.corpus import WORDS_MAX, WORDS_MIN, corpus, take
from benchmarks.texts import Counted, describe, draw, spread


def words(texts: list[str]) -> list[int]:
    return sorted(len(text.split()) for text in texts)


def test_no_text_stands_twice() -> None:
    texts = corpus(8000, seed=1)

    assert len(set(texts)) == len(texts) == 8000


def test_one_seed_gives_one_list_and_another_seed_another() -> None:
    assert corpus(500, seed=3) == corpus(500, seed=3)
    assert corpus(500, seed=3) != corpus(500, seed=4)


def test_lengths_are_mixed_and_some_are_long() -> None:
    lengths = words(corpus(8000, seed=1))

    assert (lengths[0], lengths[-1] <= WORDS_MAX) == (WORDS_MIN, True)
    assert lengths[len(lengths) // 10] < 8
    assert lengths[len(lengths) * 99 // 100] > 60


def test_more_texts_than_there_are_become_pairs_of_different_ones() -> None:
    taken = take(["a b", "c d", "e f"], 9)

    assert taken[:3] == ["a b", "c d", "e f"]
    assert sorted(taken[3:]) == ["a b c d", "a b e f", "c d a b", "c d e f", "e f a b", "e f c d"]


def test_more_texts_than_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="10 texts are asked for; 3 texts and their pairs make 9"):
        take(["a b", "c d", "e f"], 10)


def test_every_stretch_has_the_lengths_of_all() -> None:
    rng = random.Random(7)
    texts = [Counted(str(number), rng.randrange(200)) for number in range(1003)]

    ordered = spread(texts, seed=1, block=50)

    assert len(ordered) == len(set(ordered)) == 1000
    means = [sum(text.tokens for text in ordered[start : start + 50]) / 50 for start in range(0, 1000, 50)]
    assert max(means) - min(means) < 5  # each block has one text of every fiftieth part, and a part spans 4 tokens
    assert ordered == spread(texts, seed=1, block=50) != spread(texts, seed=2, block=50)


def test_few_texts_come_in_some_order() -> None:
    texts = [Counted(str(number), number) for number in range(5)]

    assert sorted(spread(texts, seed=1), key=lambda text: text.tokens) == texts


def test_texts_that_the_model_would_cut_are_left_out() -> None:
    drawn = draw(lambda texts: [min(len(text.split()), 60) for text in texts], 60, 100)

    assert len(drawn) == 100
    assert all(counted.tokens == len(counted.text.split()) < 60 for counted in drawn)
    described = describe(drawn)
    assert (described.texts, described.tokens_max) == (100, max(counted.tokens for counted in drawn))
