"""Which waiting rows go into the next batch?

The row with the oldest deadline decides; its neighbours in length join it while the padded batch stays within the
token budget. So nobody starves, and padding stays small: in a closed loop of mixed lengths, first-come batches waste
a third to two thirds of their tokens, these 4 to 6 % (docs/benchmarks.md).

Invariants: a row leaves exactly once, by `take`, `expire` or `discard`; a batch of two or more rows never holds more
padded tokens than the budget; the row with the oldest deadline is in the batch.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[Payload]):
    """One row in the queue: its length, until when it is wanted, since when it waits, and what it stands for."""

    tokens: int
    deadline_s: float
    arrived_s: float
    payload: Payload


Entry = tuple[int, int]  # (tokens, ticket): the order of the queue by length


class LengthQueue(Generic[Payload]):
    """Rows of one model, ordered by length and by deadline at once."""

    def __init__(self) -> None:
        self._rows: dict[int, Waiting[Payload]] = {}  # by ticket
        self._by_length: list[Entry] = []
        self._by_deadline: list[tuple[float, int]] = []  # heap; tickets that left are skipped when they surface
        self._next_ticket = 0
        self.tokens = 0  # unpadded tokens that wait

    def __len__(self) -> int:
        return len(self._rows)

    def push(self, row: Waiting[Payload]) -> int:
        """Add a row; returns the ticket that `discard` takes."""
        ticket = self._next_ticket
        self._next_ticket += 1
        self._rows[ticket] = row
        insort(self._by_length, (row.tokens, ticket))
        heapq.heappush(self._by_deadline, (row.deadline_s, ticket))
        self.tokens += row.tokens
        return ticket

    def oldest_deadline_s(self) -> float | None:
        """The deadline that comes first, or None when nothing waits."""
        while self._by_deadline and self._by_deadline[0][1] not in self._rows:
            heapq.heappop(self._by_deadline)
        return self._by_deadline[0][0] if self._by_deadline else None

    def take(self, *, budget_tokens: int, max_rows: int, join_tokens: float = math.inf) -> list[Waiting[Payload]]:
        """Remove and return the next batch: the oldest deadline and its neighbours in length. Empty if none waits.

        Args:
            budget_tokens: padded tokens that a batch of several rows may hold.
            max_rows: rows that a batch may hold.
            join_tokens: padding that a row may add by joining; above it, a run of its own is cheaper.
        """
        if self.oldest_deadline_s() is None:
            return []
        ticket = self._by_deadline[0][1]
        seed = bisect_left(self._by_length, (self._rows[ticket].tokens, ticket))
        first, last = self._spread(seed, budget_tokens, max_rows, join_tokens)
        return self._remove([ticket for _, ticket in self._by_length[first : last + 1]])

    def expire(self, now_s: float) -> list[Waiting[Payload]]:
        """Remove and return every row whose deadline has passed."""
        expired: list[int] = []
        while (deadline_s := self.oldest_deadline_s()) is not None and deadline_s <= now_s:
            ticket = heapq.heappop(self._by_deadline)[1]
            expired.append(ticket)
        return self._remove(expired)

    def discard(self, tickets: Iterable[int]) -> int:
        """Remove rows that nobody waits for any more; returns how many were still here."""
        return len(self._remove([ticket for ticket in tickets if ticket in self._rows]))

    def _spread(self, seed: int, budget_tokens: int, max_rows: int, join_tokens: float) -> tuple[int, int]:
        """The run of neighbours around `seed` that is worth running together; the cheapest joins first."""
        lengths = self._by_length
        first = last = seed
        while last - first + 1 < max_rows:
            rows, longest = last - first + 1, lengths[last][0]
            # What joining adds in padding: to the shorter newcomer itself, or to all others if it is longer.
            below = longest - lengths[first - 1][0] if first > 0 else math.inf
            above = rows * (lengths[last + 1][0] - longest) if last + 1 < len(lengths) else math.inf
            longest = longest if below <= above else lengths[last + 1][0]
            added = min(below, above)
            if added == math.inf or added > join_tokens or (rows + 1) * longest > budget_tokens:
                break
            first, last = (first - 1, last) if below <= above else (first, last + 1)
        return first, last

    def _remove(self, tickets: list[int]) -> list[Waiting[Payload]]:
        rows = [self._rows.pop(ticket) for ticket in tickets]
        for row, ticket in zip(rows, tickets, strict=True):
            del self._by_length[bisect_left(self._by_length, (row.tokens, ticket))]
            self.tokens -= row.tokens
        return rows
