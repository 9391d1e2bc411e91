"""How are rows batched that nobody waits for: those of the gate, of golden rows, of a test split?

By number and by padded tokens: attention takes memory by the square of the longest row's length, and 32 rows of 8,192
tokens would take hundreds of gigabytes.
"""

from collections.abc import Iterator, Sequence, Sized

MOST_TOKENS = 16_384  # padded tokens of a batch: 32 rows of 512


def slices(rows: Sequence[Sized], batch_size: int, *, most_tokens: int = MOST_TOKENS) -> Iterator[slice]:
    """Every row once, in order, in batches of at most `batch_size` rows and `most_tokens` padded tokens, but of one row
    at least.
    """
    first = longest = 0
    for place, row in enumerate(rows):
        longest = max(longest, len(row))
        if place > first and (place - first == batch_size or (place - first + 1) * longest > most_tokens):
            yield slice(first, place)
            first, longest = place, len(row)
    if rows:
        yield slice(first, len(rows))


def most_rows(length: int, most_tokens: int = MOST_TOKENS) -> int:
    """How many rows of `length` tokens one batch may have."""
    return max(1, most_tokens // length)
