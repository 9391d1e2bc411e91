"""Which rows of train does a few-shot run learn from?

So many of each label, those that come first when the label's rows are ordered by a hash of the seed and the text: the
draw is a pure function of both, the same on every machine and for every order of the rows, and a row that is drawn
stays drawn when the number grows. Another seed draws others.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from training.data.rows import Row, normal


def draw(rows: Sequence[Row], per_label: int, seed: int) -> list[Row]:
    """`per_label` rows of each label, or all where there are fewer, in the order of `rows`."""
    by_label: dict[str | None, list[int]] = defaultdict(list)
    for number in sorted(range(len(rows)), key=lambda number: _rank(rows[number], seed)):
        by_label[rows[number].label].append(number)
    return [rows[number] for number in sorted(number for each in by_label.values() for number in each[:per_label])]


def _rank(row: Row, seed: int) -> bytes:
    told = normal(row.text).encode() if row.vector is None else row.vector.tobytes()
    return hashlib.sha256(f"{seed}\x1f".encode() + told).digest()
