"""Merges are those of the algorithm as published, counted anew after each."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from training.vocabulary.merges import LEAST, Pair, Word, learn_merges

WORDS = st.dictionaries(st.text("abc", min_size=1, max_size=8).map(tuple), st.integers(1, 4), max_size=8)


def naive_merges(words: dict[Word, int], most: int) -> list[Pair]:
    """Algorithm 1 of arXiv:1508.07909."""
    merges: list[Pair] = []
    for _ in range(most):
        counts: Counter[Pair] = Counter()
        for word, frequency in words.items():
            for pair in pairwise(word):
                counts[pair] += frequency
        frequent = [(-count, pair) for pair, count in counts.items() if count >= LEAST]
        if not frequent:
            break
        best = min(frequent)[1]
        merges.append(best)
        merged: Counter[Word] = Counter()
        for word, frequency in words.items():
            merged[_apply(word, best)] += frequency
        words = dict(merged)
    return merges


def _apply(word: Word, pair: Pair) -> Word:
    pieces: list[str] = []
    rest = list(word)
    while rest:
        if tuple(rest[:2]) == pair:
            pieces.append("".join(rest[:2]))
            rest = rest[2:]
        else:
            pieces.append(rest.pop(0))
    return tuple(pieces)


@given(words=WORDS, most=st.integers(0, 12))
def test_merges_are_those_of_counting_anew(words: dict[Word, int], most: int) -> None:
    assert learn_merges(words, most, str.__add__) == naive_merges(words, most)


def test_the_example_of_the_paper() -> None:
    """low 5, lower 2, newest 6, widest 3: e s, es t and l o, lo w come first."""
    words = {tuple("low"): 5, tuple("lower"): 2, tuple("newest"): 6, tuple("widest"): 3}

    assert learn_merges(words, 4, str.__add__) == [("e", "s"), ("es", "t"), ("l", "o"), ("lo", "w")]


def test_of_equally_frequent_pairs_the_first_by_its_text_is_merged() -> None:
    assert learn_merges({("c", "d"): 3, ("a", "b"): 3}, 1, str.__add__) == [("a", "b")]


def test_a_pair_that_stands_once_is_not_merged() -> None:
    assert learn_merges({("a", "b"): 1}, 5, str.__add__) == []
