"""How does a front end reach its engine, also when it dies?

The connection is kept: when it breaks, it is made again as soon as an engine listens, and every request that has no
answer yet is sent again – once; inference has no side effects. What is held by two engines that die is failed.
Requests that come in between wait until their callers give them up, which is at their deadlines.
"""

import asyncio
import itertools
import time
from dataclasses import dataclass
from pathlib import Path

from app.engine.connection import Connection
from app.engine.frames import Kind, pack_cancel, pack_work, unpack_answer, unpack_failure, unpack_status
from app.errors import EngineFailedError, NotReadyError
from app.types import Answer, EngineStatus, Work

RECONNECT_S = 0.02
SILENT_S = 3.0  # three heartbeats missed
MAX_SENDS = 2


@dataclass(slots=True)
class Pending:
    """A request without an answer, and how many engines have had it."""

    work: Work
    future: asyncio.Future[Answer]
    sends: int = 0


class RemoteEngine:
    """The engine behind the Unix socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._connection: Connection | None = None  # only once its first STATUS is in
        self._status = EngineStatus(is_ready=False)
        self._heard_s = 0.0
        self._pending: dict[int, Pending] = {}
        self._ids = itertools.count(1)
        self._keeper: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()

    def start(self) -> None:
        """Begin to keep the connection. Needs a running loop."""
        self._keeper = asyncio.create_task(self._keep_connected())

    async def connected(self) -> None:
        """Return once an engine has said what it holds."""
        await self._connected.wait()

    async def close(self) -> None:
        """Give the connection up; what has no answer fails."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        for pending in self._pending.values():
            _fail(pending, NotReadyError("the service is shutting down"))
        if self._connection is not None:
            self._connection.close()

    def status(self) -> EngineStatus:
        """The last heartbeat; not ready when it is old or the connection is gone."""
        heard = self._connection is not None and time.monotonic() - self._heard_s < SILENT_S
        return EngineStatus(is_ready=heard and self._status.is_ready, models=self._status.models)

    async def submit(self, work: Work) -> Answer:
        """See `app.types.Engine`."""
        id = next(self._ids)
        pending = self._pending[id] = Pending(work, asyncio.get_running_loop().create_future())
        self._send(id, pending)
        try:
            return await pending.future
        except asyncio.CancelledError:
            self._cancel(id)
            raise
        finally:
            del self._pending[id]

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_unix_connection(lambda: Connection(self._received, self._gone), self._path)
            except OSError:  # no engine listens yet
                await asyncio.sleep(RECONNECT_S)
                continue
            await self._lost.wait()
            self._lost.clear()

    def _received(self, connection: Connection, kind: Kind, body: bytes) -> None:
        if kind is Kind.ANSWER:
            id, answer = unpack_answer(body)
            if (pending := self._pending.get(id)) and not pending.future.done():
                pending.future.set_result(answer)
        elif kind is Kind.FAILURE:
            failure = unpack_failure(body)
            if pending := self._pending.get(failure.id):
                _fail(pending, failure.error)
        elif kind is Kind.STATUS:
            self._status, self._heard_s = unpack_status(body), time.monotonic()
            if self._connection is None:
                self._connection = connection
                self._connected.set()
                for id, pending in self._pending.items():
                    self._send(id, pending)

    def _gone(self, _: Connection) -> None:
        self._connection = None
        self._connected.clear()
        self._lost.set()
        for pending in self._pending.values():
            if pending.sends >= MAX_SENDS:
                _fail(pending, EngineFailedError("the engine died twice while it held this request"))

    def _send(self, id: int, pending: Pending) -> None:
        if self._connection is None or pending.future.done():
            return
        models = [model.key for model in self._status.models]
        if pending.work.model not in models:
            _fail(pending, NotReadyError(f"the engine does not hold {pending.work.model}"))
            return
        pending.sends += 1
        self._connection.send(pack_work(id, pending.work, models))

    def _cancel(self, id: int) -> None:
        if self._connection is not None:
            self._connection.send(pack_cancel(id))


def _fail(pending: Pending, error: Exception) -> None:
    if not pending.future.done():
        pending.future.set_exception(error)
