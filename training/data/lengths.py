"""How long are the texts, and which are longer than the model reads?

In tokens of the run's tokenizer, special tokens included; where there is no model yet, in characters. A row is as long
as its longest text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.data.findings import Finding
from training.data.rows import Row

BATCH = 4096  # texts tokenised at once: their encodings are dropped before the next
LEAST_EDGE = 8  # upper end of the first bin; each next bin ends at twice that of the one before


@dataclass(frozen=True, slots=True)
class Ruler:
    """How texts, or rows of numbers, are measured: `measure` gives the length of each. `limit` is what the model reads
    of one.
    """

    unit: Literal["tokens", "characters", "vectors"]
    measure: Callable[[Sequence[Any]], list[int]]
    limit: int | None = None


CHARACTERS = Ruler("characters", lambda texts: [len(text) for text in texts])


def vector_ruler(limit: int | None = None) -> Ruler:
    """Measures in vectors of a row of numbers, which is 1 where a row is one vector."""
    return Ruler("vectors", lambda rows: [len(np.atleast_2d(row)) for row in rows], limit)


def token_ruler(tokenizer: Tokenizer, limit: int) -> Ruler:
    """Measures in tokens of a tokenizer that neither pads nor truncates."""
    return Ruler(
        "tokens", lambda texts: [len(encoding) for encoding in tokenizer.encode_batch_fast(list(texts))], limit
    )


def measure(rows: Sequence[Row], ruler: Ruler) -> NDArray[np.int64]:
    """The length of each row."""
    lengths = np.zeros(len(rows), np.int64)
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        inputs = [row.inputs for row in part]
        flat = iter(ruler.measure([one for several in inputs for one in several]))
        lengths[first : first + BATCH] = [max(next(flat) for _ in several) for several in inputs]
    return lengths


def over_long(rows: Sequence[Row], lengths_N: NDArray[np.int64], limit: int, unit: str) -> list[Finding]:
    """The rows of which a model that reads `limit` does not read the end."""
    places = np.flatnonzero(lengths_N > limit).tolist()
    return [Finding(rows[place].where, detail=f"{lengths_N[place]:,} {unit}") for place in places]


@dataclass(frozen=True, slots=True)
class Spread:
    """How the lengths of a split spread: 50, 90 and 99 of 100 rows are not longer than `p50`, `p90`, `p99`."""

    p50: int
    p90: int
    p99: int
    longest: int

    @classmethod
    def of(cls, lengths_N: NDArray[np.int64]) -> "Spread":
        """Of at least one row."""
        p50, p90, p99 = np.percentile(lengths_N, [50, 90, 99], method="inverted_cdf").tolist()
        return cls(p50, p90, p99, int(lengths_N.max()))


def histogram(lengths_N: NDArray[np.int64], longest: int) -> list[tuple[str, int]]:
    """How many rows have up to 8, 9 to 16, 17 to 32 … up to `longest`."""
    edges = [LEAST_EDGE]
    while edges[-1] < longest:
        edges.append(2 * edges[-1])
    counts, _ = np.histogram(lengths_N, bins=[-0.5, *(edge + 0.5 for edge in edges)])
    names = [f"up to {LEAST_EDGE}", *(f"{low + 1:,}–{high:,}" for low, high in pairwise(edges))]
    return list(zip(names, counts.tolist(), strict=True))
