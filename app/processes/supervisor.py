"""Who owns the port, the children and the counters?

The supervisor binds the port, makes the private folder for the engines' sockets and the metrics, starts an engine for
each device and the front ends, and starts again whatever dies or hangs (`app/processes/watch.py`). It computes nothing,
so it has little to die of; if it is killed all the same, its children end by themselves (`app/processes/child.py`).

SIGTERM, SIGHUP or Ctrl-C: front ends finish what they hold, then the engine, which is kept up until then, exit 0. A
second signal ends all at once.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence
from functools import partial
from pathlib import Path

from app.engine.client import RemoteEngine
from app.processes import refusals
from app.processes.banner import banner
from app.processes.child import board_file, engine_socket
from app.processes.devices import engine_environments
from app.processes.process import Process, StartError
from app.processes.runtime import runtime_folder
from app.processes.signals import deferred, stop_signals
from app.processes.streams import say
from app.processes.watch import Watch
from app.serving import board
from app.settings import Settings
from app.telemetry.logging import configure
from app.types import ModelKey

log = logging.getLogger(__name__)

ENGINE = "app.processes.engine"
ENGINE_GRACE_S = 10.0  # for the batches that run when the last front end has gone
FOLDER_LOOK_S = 1.0


def run(settings: Settings, keys: list[ModelKey], listener: socket.socket, *, engine: str = ENGINE) -> None:
    """Serve until told to stop. `engine` is the module of the engines' program.

    Raises:
        StartError: a child refuses to start or dies again and again, or there is no place for the engine's socket.
    """
    with deferred() as told, runtime_folder() as runtime:  # else a signal before the event loop listens would end it
        configure(settings.log_format)
        # Before prometheus_client is imported anywhere: it chooses memory-mapped values at import.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(runtime)
        asyncio.run(Supervisor(settings, keys, listener, runtime, engine=engine).run(told))


class Supervisor:
    """The children of one service and the order in which they start and end."""

    def __init__(
        self, settings: Settings, keys: list[ModelKey], listener: socket.socket, runtime: Path, *, engine: str = ENGINE
    ) -> None:
        from app.telemetry import metrics  # see `run`: only now may prometheus_client load

        self._metrics = metrics
        self._settings, self._keys, self._listener, self._runtime = settings, keys, listener, runtime
        self._stop = asyncio.Event()
        self._failure: StartError | None = None  # what ended the service, if nobody told it to stop
        lifeline, self._lifeline_held = os.pipe()  # children read the one end; ours closes when we are gone
        environments = engine_environments(settings, os.environ)
        self._sockets = [engine_socket(runtime, number) for number in range(len(environments))]
        common = [*map(str, keys), "--runtime", str(runtime), "--engines", str(len(environments))]
        self._engines = [
            Process(
                "engine" if len(environments) == 1 else f"engine {number}",
                [engine, *common, "--number", str(number)],
                environ=environ,
                lifeline=lifeline,
                on_death=self._engine_died,
                on_refusal=partial(refusals.tell, runtime),
            )
            for number, environ in enumerate(environments)
        ]
        listen = ["--listen", str(listener.fileno())]
        self._front_ends = [
            Process(
                f"front-end {number + 1}",
                ["app.processes.frontend", *common, *listen, "--number", str(number)],
                environ=os.environ,
                lifeline=lifeline,
                fds=[listener.fileno()],
                on_death=partial(self._front_end_died, number),
            )
            for number in range(settings.workers)
        ]
        self._children = [*self._front_ends, *self._engines]

    async def run(self, told: Sequence[int]) -> None:
        """Start, keep, and end the children; nothing of it if `told` to stop before."""
        loop = asyncio.get_running_loop()
        for signum in stop_signals():
            loop.add_signal_handler(signum, self._told_to_stop)
        if told:
            return
        try:
            if not await self._or_stop(self._start()):
                return
            watch = Watch(self._engines, self._sockets, self._front_ends, board_file(self._runtime))
            async with _running(watch.run(), self._keep_folder(), *map(self._keep, self._engines)):
                async with _running(*map(self._keep, self._front_ends)):
                    await self._stop.wait()
                await self._end_front_ends()
            await asyncio.gather(*(child.stop(ENGINE_GRACE_S) for child in self._engines))
            if self._failure is not None:
                raise self._failure
        finally:
            for child in self._children:  # what has not ended by now: a start that failed, or one told to stop
                child.kill()

    async def _start(self) -> None:
        say(f"loading {', '.join(map(str, self._keys))} …")
        self._metrics.engine_restarts_total.inc(0)
        try:
            async with asyncio.TaskGroup() as group:
                for child in self._children:
                    group.create_task(child.start())
        except* StartError as errors:
            raise errors.exceptions[0] from None
        engine = RemoteEngine(self._sockets)
        engine.start()
        await engine.all_connected()
        say(banner(self._settings.store, self._listener.getsockname(), engine.status().models))
        await engine.close()

    async def _keep(self, child: Process) -> None:
        try:
            await child.keep()
        except StartError as error:  # died too often, or refuses
            self._fail(error)

    async def _keep_folder(self) -> None:
        while self._runtime.exists():  # noqa: ASYNC110  # a folder has no event
            await asyncio.sleep(FOLDER_LOOK_S)
        self._fail(StartError(f"the folder {self._runtime} was removed; set TMPDIR to one that nothing cleans up"))

    def _fail(self, error: StartError) -> None:
        """Whoever runs the service has to know: it ends."""
        self._failure = error
        self._stop.set()

    async def _or_stop(self, start: Coroutine[None, None, None]) -> bool:
        """Whether `start` came to its end before somebody said stop."""
        starting, stopping = asyncio.create_task(start), asyncio.create_task(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            stopping.cancel()
            starting.result()
            return True
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return False

    async def _end_front_ends(self) -> None:
        self._listener.close()  # it ends with the last front end's: who calls after that is refused, not left waiting
        grace_s = self._settings.timeout_ms / 1000 + 2
        await asyncio.gather(*(child.stop(grace_s) for child in self._front_ends))

    def _told_to_stop(self) -> None:
        if self._stop.is_set():  # the second time: at once
            for child in self._children:
                child.kill()
        self._stop.set()

    def _front_end_died(self, number: int, pid: int) -> None:
        self._metrics.forget(pid)
        with contextlib.suppress(OSError):  # no room in the folder: its successor tries again
            board.clear(board_file(self._runtime), number)

    def _engine_died(self, pid: int) -> None:
        self._metrics.forget(pid)
        self._metrics.engine_restarts_total.inc()


@contextlib.asynccontextmanager
async def _running(*coroutines: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """They run while this lasts; who is kept by one of them is no longer started again after it."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
