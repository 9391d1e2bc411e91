"""Which neighbouring pieces become one? Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909, Algorithm 1).

The most frequent pair of pieces is merged everywhere, again and again. Of equally frequent pairs the first by its text
is taken, where the trainers of the library `tokenizers` take whichever a hash table gives first: two runs over the same
data then have different tokens.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

Word = tuple[str, ...]
Pair = tuple[str, str]
Join = Callable[[str, str], str]

LEAST = 2  # a pair that stands once in all texts is no pattern


def learn_merges(words: Mapping[Word, int], most: int, join: Join) -> list[Pair]:
    """Up to `most` pairs in the order in which they are merged; fewer when no pair is left that stands twice.

    Args:
        words: each as its smallest pieces, and how often it stands in the texts.
        most: merges.
        join: the piece that two pieces become.
    """
    pairs = _Pairs(words)
    merges: list[Pair] = []
    while len(merges) < most and (pair := pairs.most_frequent()) is not None:
        merges.append(pair)
        pairs.merge(pair, join(*pair))
    return merges


class _Pairs:
    """How often each pair of neighbours stands in the words, and in which of them."""

    def __init__(self, words: Mapping[Word, int]) -> None:
        self._words = [list(word) for word in words]
        self._frequencies = list(words.values())
        self._counts: Counter[Pair] = Counter()
        self._holders: defaultdict[Pair, set[int]] = defaultdict(set)
        for number, word in enumerate(self._words):
            for pair in pairwise(word):
                self._counts[pair] += self._frequencies[number]
                self._holders[pair].add(number)
        # A pair's count stands here at least as high as it is; `most_frequent` puts right what has fallen since.
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)

    def most_frequent(self) -> Pair | None:
        while self._heap:
            claimed, pair = heapq.heappop(self._heap)
            count = self._counts[pair]
            if count == -claimed and count >= LEAST:
                return pair
            if LEAST <= count < -claimed:
                heapq.heappush(self._heap, (-count, pair))
        return None

    def merge(self, pair: Pair, joined: str) -> None:
        """Replace the pair by `joined` in every word. Only pairs beside a new piece are counted anew."""
        grown: set[Pair] = set()
        for number in self._holders.pop(pair):
            word, frequency = self._words[number], self._frequencies[number]
            places = _places(word, pair)
            for left in {near for place in places for near in (place - 1, place, place + 1)}:
                if 0 <= left < len(word) - 1:
                    self._counts[word[left], word[left + 1]] -= frequency
            for place in reversed(places):
                word[place : place + 2] = [joined]
            for left in {near - n for n, place in enumerate(places) for near in (place - 1, place)}:
                if 0 <= left < len(word) - 1:
                    come = word[left], word[left + 1]
                    self._counts[come] += frequency
                    self._holders[come].add(number)
                    grown.add(come)
        for come in grown:
            heapq.heappush(self._heap, (-self._counts[come], come))


def _places(word: Sequence[str], pair: Pair) -> list[int]:
    """Where the pair stands, looked for from the word's start on; no two overlap."""
    first, second = pair
    places: list[int] = []
    place = 0
    while first in word[place:-1]:
        place = word.index(first, place)
        if word[place + 1] == second:
            places.append(place)
            place += 1
        place += 1
    return places
