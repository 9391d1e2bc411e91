"""Who runs which batch, and when?

One event loop owns the queues; `lanes` threads run batches (the runtime lets go of the GIL). No lingering: a free
lane takes what is there at once, and a batch is formed only when a lane is free to run it, so late arrivals can
join. The model whose oldest deadline comes first goes first. Everything but `_run` happens on the loop's thread.

Invariants: every submitted request ends exactly once: answered, failed, expired or cancelled. A batch that fails is
split in halves down to the row that makes it fail; only that row's request gets the error.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from app.batching.cost import MAX_ROWS, budget_tokens, join_tokens
from app.batching.queue import LengthQueue, Waiting
from app.engine.load import LoadedModel
from app.errors import ApiError, DeadlineExceededError, EngineFailedError, ModelNotFoundError
from app.telemetry import metrics
from app.types import Answer, Clock, EngineStatus, ModelKey, Rows, Timing, Work

log = logging.getLogger(__name__)

FRESH_S = 10.0  # ready means: a forward pass within this time
PROBE_S = 3.0  # an idle engine runs one row this often, so that "ready" is known and not hoped


class Job:
    """One request in the engine: its rows' outputs as they come in, and the future they complete."""

    def __init__(self, work: Work, arrived_s: float) -> None:
        self.work = work
        self.arrived_s = arrived_s
        self.tickets: list[int] = []
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._outputs: dict[str, Rows] = {}
        self._missing = len(work.rows)
        self._queue_s = 0.0
        self._run_s = 0.0

    def settle(self, index: int, outputs: Mapping[str, Rows], row: int, *, started_s: float, run_s: float) -> None:
        """Take row `row` of a batch as the answer to text `index`."""
        for name, rows_BD in outputs.items():
            if name not in self._outputs:
                self._outputs[name] = np.empty((len(self.work.rows), rows_BD.shape[1]), np.float32)
            self._outputs[name][index] = rows_BD[row]
        self._missing -= 1
        self._queue_s = max(self._queue_s, started_s - self.arrived_s)
        self._run_s = max(self._run_s, run_s)
        if self._missing == 0 and not self.future.done():
            self.future.set_result(Answer(self._outputs, Timing(self._queue_s, self._run_s)))

    def fail(self, error: Exception) -> None:
        """End the request with an error, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(frozen=True, slots=True)
class Place:
    """Text `index` of a job."""

    job: Job
    index: int


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one batch: outputs of the rows that ran, the places they are for, and the rows that could not."""

    places: Sequence[Place]
    outputs: Mapping[str, Rows]
    failed: Sequence[tuple[Place, Exception]]
    started_s: float
    run_s: float


class LocalEngine:
    """The engine in this process: all models of one device over one set of lanes."""

    def __init__(self, models: Sequence[LoadedModel], *, lanes: int, clock: Clock = time.monotonic) -> None:
        self._models = {model.status.key: model for model in models}
        self._queues: dict[ModelKey, LengthQueue[Place]] = {key: LengthQueue() for key in self._models}
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="lane")
        self._free_lanes = lanes
        self._clock = clock
        self._last_run_s = clock()
        self._housekeeping: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin the idle probe and the expiry of waiting rows. Needs a running loop."""
        self._housekeeping = asyncio.create_task(self._keep_house())

    async def close(self) -> None:
        """Finish the batches that run; what still waits fails."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        for queue in self._queues.values():
            while waiting := queue.take(budget_tokens=2**62, max_rows=2**31):
                for row in waiting:
                    row.payload.job.fail(EngineFailedError("the engine is closing"))
        await asyncio.gather(*self._running)
        self._pool.shutdown()

    def status(self) -> EngineStatus:
        """Ready while the last forward pass is fresh."""
        fresh = self._clock() - self._last_run_s < FRESH_S
        return EngineStatus(is_ready=fresh, models=[model.status for model in self._models.values()])

    async def submit(self, work: Work) -> Answer:
        """See `app.types.Engine`."""
        if work.model not in self._queues:
            raise ModelNotFoundError(f"this engine does not hold {work.model}")
        job, queue = Job(work, self._clock()), self._queues[work.model]
        for index, ids in enumerate(work.rows):
            row = Waiting(len(ids), work.deadline_s, job.arrived_s, Place(job, index))
            job.tickets.append(queue.push(row))
        self._dispatch()
        try:
            return await job.future
        finally:
            queue.discard(job.tickets)  # cancelled, expired or failed: what has not run never will

    def _dispatch(self) -> None:
        """Give every free lane a batch, while rows wait."""
        self._expire()
        while self._free_lanes and (key := self._most_urgent()) is not None:
            cost = self._models[key].status.cost
            batch = self._queues[key].take(
                budget_tokens=budget_tokens(cost), max_rows=MAX_ROWS, join_tokens=join_tokens(cost)
            )
            self._free_lanes -= 1
            task = asyncio.create_task(self._run_and_settle(key, [row.payload for row in batch]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _most_urgent(self) -> ModelKey | None:
        deadlines = [(queue.oldest_deadline_s(), key) for key, queue in self._queues.items() if len(queue)]
        return min((pair for pair in deadlines if pair[0] is not None), default=(None, None))[1]

    async def _run_and_settle(self, key: ModelKey, places: list[Place]) -> None:
        loop = asyncio.get_running_loop()
        try:
            ran = await loop.run_in_executor(self._pool, self._run, key, places)
        finally:
            self._free_lanes += 1
            self._last_run_s = self._clock()
        self._settle(key, ran)
        self._dispatch()

    def _run(self, key: ModelKey, places: list[Place]) -> Ran:
        """In a lane's thread: run one batch, halving it around rows that fail."""
        started_s = self._clock()
        ran: list[tuple[list[Place], Mapping[str, Rows]]] = []
        failed: list[tuple[Place, Exception]] = []
        todo = [places]
        while todo:
            part = todo.pop()
            try:
                ran.append((part, self._models[key].runner.run([p.job.work.rows[p.index] for p in part])))
            except Exception as error:  # the runtime raises its own types; each row gets its own verdict
                if len(part) == 1:
                    failed.append((part[0], error))
                else:
                    todo += [part[len(part) // 2 :], part[: len(part) // 2]]
        outputs = {name: np.concatenate([o[name] for _, o in ran]) for name in ran[0][1]} if ran else {}
        done = [place for part, _ in ran for place in part]
        return Ran(done, outputs, failed, started_s, self._clock() - started_s)

    def _settle(self, key: ModelKey, ran: Ran) -> None:
        for row, place in enumerate(ran.places):
            place.job.settle(place.index, ran.outputs, row, started_s=ran.started_s, run_s=ran.run_s)
        for place, error in ran.failed:
            message = f"text {place.index} could not be run by the model; the others were not affected"
            failure = EngineFailedError(message, index=place.index)
            failure.__cause__ = error
            place.job.fail(failure)
        _count(key, [len(place.job.work.rows[place.index]) for place in ran.places], ran.run_s)

    def _expire(self) -> None:
        for queue in self._queues.values():
            for row in queue.expire(self._clock()):
                row.payload.job.fail(DeadlineExceededError("the deadline passed while the request waited"))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(0.05 if any(map(len, self._queues.values())) else 0.5)
            self._expire()
            if self._clock() - self._last_run_s > PROBE_S and self._free_lanes:
                await self._probe()

    async def _probe(self) -> None:
        """Run one known row of the first model, so that an idle engine knows that it still can."""
        key, model = next(iter(self._models.items()))
        try:
            await self.submit(Work(key, [model.probe], self._clock() + FRESH_S))
        except ApiError as error:
            log.error("the idle probe of %s failed: %s", key, error, exc_info=error)


def _count(key: ModelKey, lengths: Sequence[int], run_s: float) -> None:
    """Add one batch to the metrics; nothing ran if every row failed."""
    if not lengths:
        return
    padded = len(lengths) * max(lengths)
    metrics.run_seconds.labels(key.name).observe(run_s)
    metrics.batch_rows.labels(key.name).observe(len(lengths))
    metrics.batch_tokens.labels(key.name).observe(padded)
    metrics.tokens_total.labels(key.name).inc(sum(lengths))
    metrics.padded_tokens_total.labels(key.name).inc(padded)
