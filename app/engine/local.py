"""The engine in this process, for `--workers 0`, for tests, and for whoever wants it without a socket."""

import asyncio
import time
from collections.abc import Sequence

from app.engine.core import Core
from app.engine.jobs import Job
from app.engine.load import LoadedModel
from app.types import Answer, Clock, EngineStatus, Work

TICK_S = 0.05


class LocalEngine:
    """`app.types.Engine` over a `Core`."""

    def __init__(
        self, models: Sequence[LoadedModel], *, lanes: int, cache_bytes: int = 0, clock: Clock = time.monotonic
    ) -> None:
        self.core = Core(models, lanes=lanes, deliver=self._deliver, cache_bytes=cache_bytes, clock=clock)
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Let the lanes work. Needs a running loop, on which all answers arrive."""
        self._loop = asyncio.get_running_loop()
        self.core.start()
        self._ticking = asyncio.create_task(self._tick())

    async def close(self) -> None:
        """Finish the batches that run; what still waits fails."""
        if self._ticking is not None:
            self._ticking.cancel()
        await asyncio.to_thread(self.core.close)

    def status(self) -> EngineStatus:
        """See `app.types.Engine`."""
        return self.core.status()

    async def submit(self, work: Work) -> Answer:
        """See `app.types.Engine`."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        job = Job(work, self._clock(), future)
        self.core.submit([job])
        try:
            return await future
        except asyncio.CancelledError:
            self.core.drop(job)
            raise

    def _deliver(self, jobs: Sequence[Job]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_complete, jobs)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.core.tick()


def _complete(jobs: Sequence[Job]) -> None:
    for job in jobs:
        future = job.caller
        if not isinstance(future, asyncio.Future) or future.done():  # a probe, or a caller who has gone
            continue
        if isinstance(job.outcome, Answer):
            future.set_result(job.outcome)
        elif job.outcome is not None:
            future.set_exception(job.outcome)
