"""Which waiting rows go into the next batch?

The flow whose turn it is decides (app/batching/flows.py) with its row of the oldest deadline; that row's neighbours in
length join it, whoever sent them, while the padded batch stays within the token budget. So nobody starves, and padding
stays small: in a closed loop of mixed lengths, first-come batches waste a third to two thirds of their tokens, these
4 to 6 % (docs/benchmarks.md).

Invariants: a row leaves exactly once, by `take`, `expire` or `discard`; a batch of two or more rows never holds more
padded tokens than the budget; the row that decides is in the batch.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from app.batching.flows import Flows
from app.types import Flow

Payload = TypeVar("Payload")


class Waiting(NamedTuple, Generic[Payload]):  # a tuple: one is made for every text
    """One row in the queue: its length, until when it is wanted, whose it is, and what it stands for."""

    tokens: int
    deadline_s: float
    flow: Flow
    payload: Payload


Entry = tuple[int, int]  # (tokens, ticket): the order of the queue by length
Head = tuple[float, float, int]  # (tag of the flow, deadline, ticket): the smallest decides


class LengthQueue(Generic[Payload]):
    """Rows of one model, ordered by length, and by deadline within each flow. Not thread-safe."""

    def __init__(self, flows: Flows | None = None) -> None:
        self._flows = flows or Flows()
        self._rows: dict[int, Waiting[Payload]] = {}  # by ticket
        self._by_length: list[Entry] = []
        # Heaps of (deadline, ticket); tickets that left are skipped when they surface.
        self._by_flow: dict[Flow, list[tuple[float, int]]] = {}
        self._next_ticket = 0

    def __len__(self) -> int:
        return len(self._rows)

    def push(self, row: Waiting[Payload]) -> int:
        """Add a row; returns the ticket that `discard` takes."""
        ticket = self._next_ticket
        self._next_ticket += 1
        self._rows[ticket] = row
        insort(self._by_length, (row.tokens, ticket))
        heap = self._by_flow.get(row.flow)
        if heap is None:
            heap = self._by_flow[row.flow] = []
        heapq.heappush(heap, (row.deadline_s, ticket))
        return ticket

    def head(self) -> Head | None:
        """The row that would decide the next batch, and how urgent it is; None when nothing waits."""
        self._drop_stale()
        return min(((self._flows.start(flow), *heap[0]) for flow, heap in self._by_flow.items()), default=None)

    def take(self, *, budget_tokens: int, max_rows: int, join_tokens: float = math.inf) -> list[Waiting[Payload]]:
        """Remove and return the next batch: the row that decides and its neighbours in length. Empty if none waits.

        Args:
            budget_tokens: padded tokens that a batch of several rows may hold.
            max_rows: rows that a batch may hold.
            join_tokens: padding that a row may add by joining; above it, a run of its own is cheaper.
        """
        if (head := self.head()) is None:
            return []
        _, _, ticket = head
        seed = bisect_left(self._by_length, (self._rows[ticket].tokens, ticket))
        first, last = self._spread(seed, budget_tokens, max_rows, join_tokens)
        batch = [self._rows.pop(ticket) for _, ticket in self._by_length[first : last + 1]]
        del self._by_length[first : last + 1]
        self._flows.serve(((row.flow, row.tokens) for row in batch), self._by_flow)
        return batch

    def expire(self, now_s: float) -> list[Waiting[Payload]]:
        """Remove and return every row whose deadline has passed."""
        expired = []
        for heap in self._by_flow.values():
            while heap and heap[0][0] <= now_s:
                if (ticket := heapq.heappop(heap)[1]) in self._rows:
                    expired.append(ticket)
        return self._remove(expired)

    def discard(self, tickets: Iterable[int]) -> int:
        """Remove rows that nobody waits for any more; returns how many were still here."""
        return len(self._remove([ticket for ticket in tickets if ticket in self._rows]))

    def _drop_stale(self) -> None:
        """Afterwards each heap has a row on top that still waits, and no flow is there that waits for nothing."""
        empty = []
        for flow, heap in self._by_flow.items():
            while heap and heap[0][1] not in self._rows:
                heapq.heappop(heap)
            if not heap:
                empty.append(flow)
        for flow in empty:
            del self._by_flow[flow]

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
        return rows
