"""Which waiting rows go into the next batch?

The flow whose turn it is decides (app/batching/flows.py) with its row of the oldest deadline; that row's neighbours in
length join it, whoever sent them, while the padded batch stays within the token budget. Where more rows are near enough
than fit, the oldest join: else a long queue answers its common lengths newest first and lets the others wait. So nobody
starves, and padding stays small: in a closed loop of mixed lengths, first-come batches waste a third to two thirds of
their tokens, these 4 to 6 % (docs/benchmarks.md).

A batch answers nobody before all of it has run. So the rows of a crowd – a flow that could fill many batches with its
own – do not make the batches of others longer than these others need (docs/adr/0005-fair-flows.md).

Invariants: a row leaves exactly once, by `take`, `expire` or `discard`; a batch of two or more rows never holds more
padded tokens than the budget; the row that decides is in the batch.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from app.batching.flows import Flows
from app.types import Flow

Payload = TypeVar("Payload")

CROWD_BATCHES = 8  # that a flow could fill: it then finds enough neighbours in length among its own rows
NEAR_SHARE = 0.5  # of the padding that a row may add: up to there the oldest join first, at some 2 % of padding


class Waiting(NamedTuple, Generic[Payload]):  # a tuple: one is made for every text
    """One row in the queue: its length of 1 or more, until when it is wanted, whose it is, and what it stands for."""

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
        self._tokens: dict[Flow, int] = {}  # that wait
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
        self._tokens[row.flow] = self._tokens.get(row.flow, 0) + row.tokens
        return ticket

    def flows(self) -> Iterable[Flow]:
        """Those that wait."""
        return self._tokens

    def tokens_of(self, flow: Flow) -> int:
        """What of a flow waits."""
        return self._tokens.get(flow, 0)

    def head(self) -> Head | None:
        """The row that would decide the next batch, and how urgent it is; None when nothing waits."""
        self._drop_stale()
        return min(((self._flows.start(flow), *heap[0]) for flow, heap in self._by_flow.items()), default=None)

    def take(
        self,
        *,
        budget_tokens: int,
        max_rows: int,
        join_tokens: float = math.inf,
        count: Callable[[int], int] = lambda rows: rows,
        others: Sequence[Flow] = (),
    ) -> list[Waiting[Payload]]:
        """Remove and return the next batch: the row that decides and its neighbours in length. Empty if none waits.

        Args:
            budget_tokens: padded tokens that a batch of several rows may hold.
            max_rows: rows that a batch may hold.
            join_tokens: padding that a row may add by joining; above it, a run of its own is cheaper.
            count: how many of so many rows to take; at least one.
            others: flows that wait for the same engine in other queues.
        """
        if (head := self.head()) is None:
            return []
        _, _, ticket = head
        seed = bisect_left(self._by_length, (self._rows[ticket].tokens, ticket))
        first, last = self._spread(seed, self._budget(ticket, budget_tokens), max_rows, join_tokens)
        rows = count(last - first + 1)
        batch = [self._leave(ticket) for _, ticket in self._oldest(ticket, first, last, rows, join_tokens)]
        waiting = self._by_flow.keys() | others if others else self._by_flow
        self._flows.serve(((row.flow, row.tokens) for row in batch), waiting)
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

    def _leave(self, ticket: int) -> Waiting[Payload]:
        row = self._rows.pop(ticket)
        self._tokens[row.flow] -= row.tokens
        if not self._tokens[row.flow]:
            del self._tokens[row.flow]
        return row

    def _budget(self, ticket: int, budget_tokens: int) -> int:
        """What a batch of this row may hold: beside a crowd, no more than all that wait and are no crowd."""
        crowd = CROWD_BATCHES * budget_tokens
        if self._tokens[self._rows[ticket].flow] > crowd:
            return budget_tokens
        few = [tokens for tokens in self._tokens.values() if tokens <= crowd]
        return budget_tokens if len(few) == len(self._tokens) else min(budget_tokens, sum(few))

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

    def _oldest(self, seed: int, first: int, last: int, count: int, join_tokens: float) -> list[Entry]:
        """Take `count` rows out of the order by length, the oldest of `first` to `last` and those near in length."""
        lengths = self._by_length
        longest = lengths[last][0]
        start = bisect_left(lengths, (min(lengths[first][0], longest - NEAR_SHARE * join_tokens), 0), 0, first + 1)
        end = bisect_left(lengths, (longest + 1, 0), last)
        near = lengths[start:end]
        if len(near) > count:
            near.sort(key=lambda entry: self._age(entry, seed))
            lengths[start:end] = sorted(near[count:])
        else:
            del lengths[start:end]
        return near[:count]

    def _age(self, entry: Entry, seed: int) -> tuple[bool, bool, float, int]:
        """The row that decides, then its flow, then the others; the oldest first, and the longest of one request."""
        tokens, ticket = entry
        row = self._rows[ticket]
        return ticket != seed, row.flow != self._rows[seed].flow, row.deadline_s, -tokens

    def _remove(self, tickets: list[int]) -> list[Waiting[Payload]]:
        rows = [self._leave(ticket) for ticket in tickets]
        for row, ticket in zip(rows, tickets, strict=True):
            del self._by_length[bisect_left(self._by_length, (row.tokens, ticket))]
        return rows
