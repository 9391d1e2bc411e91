"""Who runs which batch, and when?

`lanes` threads share one scheduler under one lock. A lane that is free takes what is there at once and never lingers;
a batch is formed only when a lane is free to run it, so late arrivals can join. The runtime lets go of the GIL, so that
lanes run side by side; Python is only spent on forming, settling and handing over. A request that finds the engine
empty runs on all cores instead of one.

A batch that fails is split in halves down to the row that makes it fail. Every batch that runs is known with the time
of its start, so that whoever watches can tell an engine that hangs from one that works.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from app.batching.cost import padded_length
from app.batching.refine import CostRefiner
from app.engine.cores import cores
from app.engine.cuda_errors import DeviceLostError
from app.engine.jobs import Batch, Job, Ran, Row
from app.engine.load import LoadedModel
from app.engine.scheduler import Scheduler
from app.errors import ApiError, EngineFailedError
from app.telemetry import metrics
from app.types import Clock, EngineStatus, ModelKey, Rows, Runner, Work

log = logging.getLogger(__name__)

FRESH_S = 10.0  # ready means: a forward pass within this time
PROBE_S = 3.0  # an idle engine runs one row this often, so that "ready" is known and not hoped

Deliver = Callable[[Sequence[Job]], None]


class Core:
    """All models of one device over one set of lanes. Safe to call from any thread.

    Args:
        models: what may be asked for.
        lanes: batches that run side by side.
        share: how many engines the cores are divided among.
        deliver: gets the jobs that ended, each with its outcome, in a lane's thread and outside of every lock.
        cache_bytes: memory for outputs of rows that ran; 0 for none.
    """

    def __init__(
        self,
        models: Sequence[LoadedModel],
        *,
        lanes: int,
        share: int = 1,
        deliver: Deliver,
        cache_bytes: int = 0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._models = {model.status.key: model for model in models}
        costs = {key: model.status.cost for key, model in self._models.items()}
        self._refiners = {key: CostRefiner(cost) for key, cost in costs.items()}
        self._scheduler = Scheduler(costs, cache_bytes=cache_bytes)
        # Runs that go side by side without slowing each other: what waits is spread over so many.
        self._parallel = min(lanes, cores(share=share))
        self._deliver = deliver
        self._clock = clock
        self._work = threading.Condition()  # guards everything below, and the scheduler
        self._started_s: dict[int, float] = {}  # by number of the lane: since when its batch runs
        self._last_run_s = clock()
        self._closing = False
        self._lanes = [
            threading.Thread(target=self._keep_running, args=(number,), name=f"lane-{number}", daemon=True)
            for number in range(lanes)
        ]

    def start(self) -> None:
        """Let the lanes work."""
        for lane in self._lanes:
            lane.start()

    def close(self) -> None:
        """Finish the batches that run; what still waits fails."""
        with self._work:
            self._closing = True
            self._scheduler.fail_all(EngineFailedError("the engine is closing"))
            self._work.notify_all()
        for lane in self._lanes:
            lane.join()
        self._hand_over()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take requests in. Each is delivered once, unless it is dropped."""
        self._add(jobs, takes_kept=True)

    def drop(self, job: Job) -> None:
        """Nobody waits for this job any more: what has not run never will."""
        with self._work:
            self._scheduler.drop(job)

    def tick(self) -> None:
        """What has to happen without a request: end what has expired, and probe an engine that is idle."""
        with self._work:
            now_s = self._clock()
            self._scheduler.expire(now_s)
            is_idle = not self._started_s and now_s - self._last_run_s > PROBE_S
        self._hand_over()
        if is_idle:
            key, model = next(iter(self._models.items()))
            # An output that was kept would prove nothing.
            self._add([Job(Work(key, [model.probe], now_s + FRESH_S), now_s)], takes_kept=False)

    def status(self) -> EngineStatus:
        """Ready while the last forward pass is fresh."""
        with self._work:
            now_s = self._clock()
            oldest_s = min(self._started_s.values(), default=now_s)
            return EngineStatus(
                is_ready=now_s - self._last_run_s < FRESH_S,
                models=[replace(model.status, cost=self._refiners[key].cost) for key, model in self._models.items()],
                oldest_batch_s=now_s - oldest_s,
            )

    def waiting(self) -> int:
        """Rows that wait."""
        with self._work:
            return len(self._scheduler)

    def _add(self, jobs: Sequence[Job], *, takes_kept: bool) -> None:
        scheduler = self._scheduler
        with self._work:
            joined, cached = scheduler.joined, scheduler.cached
            pushed = sum(scheduler.add(job, takes_kept=takes_kept) for job in jobs)
            joined, cached = scheduler.joined - joined, scheduler.cached - cached
            self._work.notify(pushed)
        if joined or cached:
            metrics.joined_total.inc(joined)
            metrics.cached_total.inc(cached)
        self._hand_over()

    def _keep_running(self, lane: int) -> None:
        while (batch := self._next(lane)) is not None:
            runner, had_a_core = self._runner(batch), len(self._started_s) <= self._parallel
            ran = run(runner, batch.rows, self._clock)
            with self._work:
                self._scheduler.settle(ran)
                del self._started_s[lane]
                if ran.rows:
                    self._last_run_s = self._clock()
                ended = self._scheduler.take_ended()
            self._tell(ended)
            if ran.rows:
                self._count(batch.model, ran, learns=had_a_core and runner is self._models[batch.model].lane)

    def _next(self, lane: int) -> Batch | None:
        """The next batch as soon as there is one; None when the engine closes."""
        with self._work:
            while True:
                spread = max(1, self._parallel - len(self._started_s))
                batch = self._scheduler.next_batch(self._clock(), spread=spread)
                if batch is not None or self._closing:
                    break
                self._work.wait()
            if batch is not None:
                self._started_s[lane] = self._clock()
            ended = self._scheduler.take_ended()
        self._tell(ended)
        return batch

    def _runner(self, batch: Batch) -> Runner:
        model = self._models[batch.model]
        is_lone = batch.is_alone and len(batch.rows) == 1 and len(self._started_s) == 1
        return model.wide if is_lone else model.lane

    def _count(self, model: ModelKey, ran: Ran, *, learns: bool) -> None:
        """Add one batch to the metrics, and to what is known of the price of a run."""
        lengths = [len(row.ids) for row in ran.rows]
        longest, refiner = max(lengths), self._refiners[model]
        metrics.count_batch(
            model.name,
            rows=len(lengths),
            tokens=sum(lengths),
            longest=padded_length(longest, refiner.cost.pad_to),
            seconds=ran.run_s,
        )
        if learns and not ran.failed:
            with self._work:
                refiner.feed(len(lengths), longest, 1000 * ran.run_s)
                self._scheduler.set_cost(model, refiner.cost)

    def _hand_over(self) -> None:
        """Deliver what has ended."""
        with self._work:
            ended = self._scheduler.take_ended()
        self._tell(ended)

    def _tell(self, ended: Sequence[Job]) -> None:
        """Deliver these jobs; the caller holds no lock."""
        if ended:
            for job in ended:
                if isinstance(job.outcome, ApiError) and job.outcome.__cause__ is not None:
                    log.error("request failed in the engine: %s", job.outcome, exc_info=job.outcome.__cause__)
            self._deliver(ended)


def run(runner: Runner, rows: Sequence[Row], clock: Clock) -> Ran:
    """Run one batch, halving it around rows that fail.

    Raises:
        DeviceLostError: the device is of no use to this process any more.
    """
    started_s = clock()
    parts: list[tuple[Sequence[Row], dict[str, Rows]]] = []
    failed: list[tuple[Row, Exception]] = []
    todo = [rows]
    while todo:
        part = todo.pop()
        try:
            parts.append((part, dict(runner.run([row.ids for row in part]))))
        except DeviceLostError:
            raise  # no row's fault, and no other run would end better: the thread dies, and the process with it
        except Exception as error:  # the runtime raises its own types; each row gets its own verdict
            if len(part) == 1:
                failed.append((part[0], error))
            else:
                todo += [part[len(part) // 2 :], part[: len(part) // 2]]
    run_s = clock() - started_s
    if len(parts) == 1 and not failed:  # the way of nearly all batches, without a copy
        return Ran(rows, parts[0][1], failed, started_s, run_s)
    outputs = {name: np.concatenate([o[name] for _, o in parts]) for name in parts[0][1]} if parts else {}
    return Ran([row for part, _ in parts for row in part], outputs, failed, started_s, run_s)
