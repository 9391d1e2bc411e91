"""How does a front end keep in touch with one engine?

The connection is made again as soon as an engine listens, and what the engine last said of itself is kept. Which
request goes where, and what happens to those that an engine took with it, is `app/engine/client.py`'s.
"""

import asyncio
import time
from pathlib import Path
from typing import Protocol

from app.engine.connection import Connection
from app.engine.frames import Kind, unpack_status
from app.types import EngineStatus, ModelKey

RECONNECT_S = 0.02
SILENT_S = 1.5  # six heartbeats missed (app/engine/server.py): /ready must tell the truth within 2 s


class Owner(Protocol):
    """Who sends over a link, and gets what comes."""

    def link_up(self, link: "Link") -> None:
        """The engine has said what it holds; it takes work from now on."""
        ...

    def link_down(self, link: "Link") -> None:
        """The engine is gone, with what it held."""
        ...

    def link_frame(self, kind: Kind, body: bytes) -> None:
        """An answer or a failure has come."""
        ...


class Link:
    """The connection to the engine that listens at `path`."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self._path = str(path)
        self._owner = owner
        self._connection: Connection | None = None  # only once its first STATUS is in
        self._status = EngineStatus(is_ready=False)
        self.heard_s = 0.0  # when an engine was last heard
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.tokens = 0  # sent and not answered: how much work stands before a newcomer

    def start(self) -> None:
        """Begin to keep the connection. Needs a running loop."""
        self._keeper = asyncio.create_task(self._keep_connected())

    async def close(self) -> None:
        """Give the connection up."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    @property
    def is_up(self) -> bool:
        """Whether an engine is there that takes work."""
        return self._connection is not None

    def status(self) -> EngineStatus:
        """The last heartbeat; not ready when it is old or the connection is gone."""
        heard = self._connection is not None and time.monotonic() - self.heard_s < SILENT_S
        return EngineStatus(heard and self._status.is_ready, self._status.models, self._status.oldest_batch_s)

    def models(self) -> list[ModelKey]:
        """What the engine holds, in the order in which frames count them."""
        return [model.key for model in self._status.models]

    def send(self, data: bytes) -> None:
        """Send a frame; dropped when the engine is gone."""
        if self._connection is not None:
            self._connection.send(data)

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, connection = await loop.create_unix_connection(
                    lambda: Connection(self._received, self._gone), self._path
                )
            except OSError:  # no engine listens yet
                await asyncio.sleep(RECONNECT_S)
                continue
            try:
                await self._lost.wait()
            finally:
                connection.close()
            self._lost.clear()

    def _received(self, connection: Connection, kind: Kind, body: bytes) -> None:
        if kind is not Kind.STATUS:
            self._owner.link_frame(kind, body)
            return
        self._status, self.heard_s = unpack_status(body), time.monotonic()
        if self._connection is None:
            self._connection = connection
            self._owner.link_up(self)

    def _gone(self, _: Connection) -> None:
        self._connection = None
        self._lost.set()
        self._owner.link_down(self)
