"""Who waits for what in one engine, and what runs next?

Every state change of a job happens here. Not thread-safe: the caller (app/engine/core.py) holds its lock, and delivers
what `take_ended` gives it after letting go of it.

Invariants: a job ends exactly once – answered, failed or expired – or is dropped; a text that several jobs want at the
same time runs once; a row that nobody wants any more never runs.
"""

from collections.abc import Mapping

from app.batching.cost import MAX_ROWS, budget_tokens, join_tokens, padded_length, worthwhile_rows
from app.batching.flows import Flows
from app.batching.queue import LengthQueue, Waiting
from app.engine.cache import RowCache
from app.engine.jobs import Batch, Job, Place, Ran, Row, RowKey
from app.errors import DeadlineExceededError, EngineFailedError, ModelNotFoundError
from app.types import Cost, ModelKey, Work


class Scheduler:
    """The queues of all models of one engine."""

    def __init__(self, costs: Mapping[ModelKey, Cost], *, cache_bytes: int = 0) -> None:
        self._costs = dict(costs)
        self._flows = Flows()
        self._queues: dict[ModelKey, LengthQueue[Row]] = {key: LengthQueue(self._flows) for key in costs}
        self._wanted: dict[RowKey, Row] = {}  # what waits or runs
        self._cache = RowCache(cache_bytes)
        self._ended: list[Job] = []
        self.joined = 0  # texts that found an equal one waiting or running
        self.cached = 0  # texts that were answered from the cache

    def __len__(self) -> int:
        """Rows that wait."""
        return sum(map(len, self._queues.values()))

    def set_cost(self, model: ModelKey, cost: Cost) -> None:
        """Take what was learnt about the price of a run."""
        self._costs[model] = cost

    def add(self, job: Job, *, takes_kept: bool = True) -> int:
        """Take a request in, which may be answered from the cache; returns how many rows were put into the queue."""
        model = job.work.model
        if model not in self._queues:
            self._end(job, ModelNotFoundError(f"this engine does not hold {model}"))
            return 0
        pushed = 0
        for index, ids in enumerate(job.work.rows):
            key = (model, ids.tobytes())
            if takes_kept and (kept := self._cache.get(key)) is not None:
                self.cached += 1
                if job.settle(index, kept, 0, started_s=None, run_s=0.0):
                    self._ended.append(job)
                continue
            row = self._wanted.get(key)
            if row is None:
                row = self._wanted[key] = Row(key, ids, job.work)
                row.ticket = self._push(row)
                pushed += 1
            else:
                self.joined += 1
                self._hurry(row, job.work)
            row.places.append(Place(job, index))
            job.rows.append(row)
        return pushed

    def next_batch(self, now_s: float, *, spread: int = 1) -> Batch | None:
        """The rows to run next; None when nothing waits. What has expired leaves before.

        `spread` is how many lanes could run at this moment: each takes only its share of what waits, so that a request
        of many texts uses all of them.
        """
        self.expire(now_s)
        heads = [
            (head, key) for key, queue in self._queues.items() if len(queue) and (head := queue.head()) is not None
        ]
        if not heads:
            return None
        model = heads[0][1] if len(heads) == 1 else min(heads)[1]
        cost = self._costs[model]
        share = -(-len(self) // spread)
        taken = self._queues[model].take(
            budget_tokens=budget_tokens(cost),
            max_rows=min(MAX_ROWS, share),
            join_tokens=join_tokens(cost),
            count=lambda rows: worthwhile_rows(rows, cost),
            # One that waits for another model wants the same engine.
            others=[flow for _, key in heads if key != model for flow in self._queues[key].flows()],
        )
        rows = [waiting.payload for waiting in taken]
        for row in rows:
            row.ticket = None
        return Batch(model, rows, is_alone=not len(self))

    def settle(self, ran: Ran) -> None:
        """Answer everybody who waited for the rows of a batch."""
        for number, row in enumerate(ran.rows):
            del self._wanted[row.key]
            self._cache.put(row.key, ran.outputs, number)
            for place in row.places:
                if place.job.settle(place.text, ran.outputs, number, started_s=ran.started_s, run_s=ran.run_s):
                    self._ended.append(place.job)
        for row, error in ran.failed:
            del self._wanted[row.key]
            for place in row.places:
                message = f"text {place.text} could not be run by the model; the others were not affected"
                failure = EngineFailedError(message, index=place.text)
                failure.__cause__ = error
                self._end(place.job, failure)

    def expire(self, now_s: float) -> None:
        """End every job whose deadline passed while a row of it waited."""
        for queue in self._queues.values():
            for waiting in queue.expire(now_s):
                row = waiting.payload
                row.ticket = None
                for place in [place for place in row.places if place.job.work.deadline_s <= now_s]:
                    self._end(place.job, DeadlineExceededError("the deadline passed while the request waited"))
                if row.places:  # somebody else wants the same text for longer
                    row.work = min((place.job.work for place in row.places), key=self._urgency)
                    row.ticket = self._push(row)
                else:
                    self._wanted.pop(row.key, None)

    def drop(self, job: Job) -> None:
        """Forget a job; its rows do not run unless somebody else wants them, or they run already."""
        for row in job.rows:
            row.places = [place for place in row.places if place.job is not job]
            if not row.places and row.ticket is not None:
                self._queues[job.work.model].discard([row.ticket])
                row.ticket = None
                del self._wanted[row.key]

    def fail_all(self, error: Exception) -> None:
        """End everything that waits."""
        for row in list(self._wanted.values()):
            for place in list(row.places):
                self._end(place.job, error)

    def take_ended(self) -> list[Job]:
        """The jobs that ended since the last call, each once, with their outcome."""
        ended, self._ended = self._ended, []
        return ended

    def _push(self, row: Row) -> int:
        work = row.work
        # What it costs, alone or in a batch; a tokenizer may make nothing of a text.
        tokens = padded_length(max(len(row.ids), 1), self._costs[work.model].pad_to)
        return self._queues[work.model].push(Waiting(tokens, work.deadline_s, work.flow, row))

    def _hurry(self, row: Row, work: Work) -> None:
        """Somebody else wants a row that waits: it goes with whichever of them is served first."""
        if row.ticket is not None and self._urgency(work) < self._urgency(row.work):
            self._queues[work.model].discard([row.ticket])
            row.work = work
            row.ticket = self._push(row)

    def _urgency(self, work: Work) -> tuple[float, int, float]:
        """The smallest is served first: by its flow's turn, by what that flow has before it, by its deadline."""
        return self._flows.start(work.flow), self._queues[work.model].tokens_of(work.flow), work.deadline_s

    def _end(self, job: Job, error: Exception) -> None:
        if job.outcome is None:
            job.outcome = error
            self._ended.append(job)
            self.drop(job)
