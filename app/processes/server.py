"""How does a front end's server start, keep time and end?

uvicorn's server, with our connections, a sweep that ends what takes too long, and an end that loses nothing: from
SIGTERM on `/ready` says 503; whatever had arrived by then – on connections still to be accepted, or unread in their
buffers – is read, and the listener closed after it; requests that had begun are answered, and connections closed when
they have nothing more to say. Exit code 0.
"""

import asyncio
import contextlib
import logging
import socket
import time
from functools import partial
from types import FrameType

import uvicorn

from app.api.middleware import Observed
from app.processes.http.connection import Connection
from app.processes.http.reading import Rules
from app.settings import Settings
from app.telemetry.logging import refused
from app.types import Clock

log = logging.getLogger(__name__)

SWEEP_S = 1.0  # how late a time limit may be noticed
POLL_S = 0.01
# What had arrived at the signal may still be on its way through the kernel of a busy machine, and reading a new
# connection takes some turns of the event loop; closed with bytes unread, it is reset and its request lost.
SETTLE_S = 0.1


def make_server(app: Observed, settings: Settings, *, clock: Clock = time.monotonic) -> "Server":
    """How every kind of start runs uvicorn; the access log is ours (app/telemetry/logging.py)."""
    rules = Rules(settings, app.parts.service.gate, frozenset(path.encode() for path in app.hot), clock)
    config = uvicorn.Config(
        app,
        http=partial(Connection, rules),  # type: ignore[arg-type]  # uvicorn calls it; the annotation wants a class
        ws="none",
        lifespan="on",
        interface="asgi3",
        proxy_headers=False,  # else X-Forwarded-For from this machine would be believed
        access_log=False,
        log_level="warning",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.timeout_ms // 1000 + 1,
    )
    return Server(config, app, clock)


class Server(uvicorn.Server):
    """uvicorn's server for an application of ours."""

    def __init__(self, config: uvicorn.Config, app: Observed, clock: Clock) -> None:
        super().__init__(config)
        self._service = app.parts.service
        self._clock = clock
        self._timekeeper: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM and SIGINT: be not ready and begin to end; on the second, end at once."""
        self._service.drain()
        for connection in self._connections():
            connection.is_draining = True  # so that callers who get an answer now send nothing more here
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self._timekeeper = asyncio.create_task(self._keep_time())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; see above."""
        await asyncio.sleep(SETTLE_S)
        waiting = [caller for listener in sockets or () for caller in accept_all(listener)]
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for caller in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._connect, caller)
        await asyncio.sleep(SETTLE_S)
        for connection in self._connections():
            connection.shutdown()
        await self._answered()
        if self._timekeeper is not None:
            self._timekeeper.cancel()
        refused.write()
        await self.lifespan.shutdown()

    def sweep(self) -> None:
        """End what has taken too long, and log what was refused."""
        now_s = self._clock()
        for connection in self._connections():
            connection.expire(now_s)
        refused.write()

    def _connect(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn calls it
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _connections(self) -> list[Connection]:
        return [each for each in self.server_state.connections if isinstance(each, Connection)]

    async def _answered(self) -> None:
        """Return when the last connection has closed, or cancel what is left when the time is up."""
        state, timeout_s = self.server_state, self.config.timeout_graceful_shutdown
        try:
            async with asyncio.timeout(timeout_s):
                while (state.connections or state.tasks) and not self.force_exit:  # noqa: ASYNC110  # no event to await
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            log.error("%d requests were not answered within %s s; cancelling them", len(state.tasks), timeout_s)
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()


def accept_all(listener: socket.socket) -> list[socket.socket]:
    """Every caller that the kernel holds, as far as there are descriptors: those in the house are answered in any case.

    The event loop takes one a turn (libuv does), and closing resets the rest.
    """
    callers = []
    listener.setblocking(False)
    with contextlib.suppress(OSError):  # BlockingIOError: that was the last; EMFILE: no descriptor is left
        while True:
            callers.append(listener.accept()[0])
    return callers
