"""What happens on one connection?

Each request that has come in whole goes to the application, one after the other, and answers leave in the order of the
requests, refusals among them. While the caller leaves answers unread, no other is begun and nothing is read: what a
connection holds is bounded. `shutdown` and `expire` are for the server (app/processes/server.py): the one when it ends,
the other every second.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from starlette.types import ASGIApp, Scope
from uvicorn import Config
from uvicorn.server import ServerState

from app.api.deps import ON_GONE, principal_of
from app.api.middleware import CLIENT_GONE
from app.errors import ApiError, InternalError, RequestTimeoutError
from app.processes.http import head
from app.processes.http.exchange import Exchange
from app.processes.http.reading import Reader, Rules
from app.processes.http.refusal import Refusal
from app.processes.http.writing import WRITE_S, Writing
from app.telemetry import metrics

log = logging.getLogger(__name__)

LINGER_S = (
    2.0  # an answer that ends a connection early is lost if the connection is closed with bytes unread (TCP reset)
)
# What may wait here of requests that were sent before the answers to others. Beyond it the connection is not read, and
# its end not noticed.
QUEUED_MAX_BYTES = 65_536
TURN_BYTES = 1024  # of memory for a request, beside its body


class Connection(asyncio.Protocol):
    """One connection of HTTP/1.1. Made by uvicorn, which gives the keyword arguments."""

    def __init__(
        self,
        rules: Rules,
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._rules = rules
        self._app: ASGIApp = config.loaded_app
        self._server = server_state
        self._app_state = app_state
        self._reader = Reader(rules, self)
        self._queue: deque[tuple[Callable[[], None], int]] = deque()  # what follows the answer in the making, its bytes
        self._current: Exchange | None = None
        self._writing = Writing()
        self._queued_bytes = 0
        self.is_draining = False  # the answer after which nothing is left to say is the last one
        self.is_lost = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A caller is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods and not the base class
        self._peer = _address(transport.get_extra_info("peername"))
        self._own = _address(transport.get_extra_info("sockname"))
        self.principal = principal_of(self._peer)
        self._server.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes only

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        if self._reader.phase == "ended":
            return
        try:
            self._reader.feed(data)
        except Exception as error:
            self._fail(error)
        if self._queue:  # not sooner: what stands behind a refusal decides whether it is the last answer
            self._proceed()

    def _fail(self, error: Exception) -> None:
        """Nothing more can be read: answer what was being read, unless it has its answer, and let that be the last."""
        if not isinstance(error, ApiError):
            log.error("a request could not be read, which is a fault of ours", exc_info=error)
            error = InternalError("the request could not be read, which is a fault of the service")
        if self._reader.drops:
            self._reader.enter("ended", math.inf)
            self._append(self._end, 0)
        else:
            self.refuse(error, stays=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller went away, or we closed."""
        self._server.connections.discard(self)
        self.is_lost = True
        self._queue.clear()
        self.resume_writing()
        if self._current is not None:
            self._current.gone()
        elif self._reader.phase == "body" and self._reader.is_amid:
            metrics.cancelled_total.inc()
            Refusal(self._rules, self._reader).end(CLIENT_GONE)

    def pause_writing(self) -> None:
        """The caller reads more slowly than we write."""
        self._writing.fill(self._rules.clock(), self._transport.get_write_buffer_size())
        self._pace()

    def resume_writing(self) -> None:
        """It has read."""
        self._writing.free()
        self._proceed()

    # What the reader calls.

    def take(self, reader: Reader) -> None:
        """Answer this request in its turn, which does not come before all that has arrived is read."""
        exchange = Exchange(self, self._scope(reader), bytes(reader.body), keeps_alive=reader.keeps_alive)
        exchange.scope[ON_GONE] = exchange.on_gone
        self._append(partial(self._begin, exchange), len(reader.body) + TURN_BYTES)

    def refuse(self, error: ApiError, *, stays: bool) -> None:
        """Refuse this request in its turn; see `take`."""
        refusal = Refusal(self._rules, self._reader)
        if not stays:
            self._reader.enter("ended", math.inf)
        self._append(partial(self._refuse, refusal, error, stays=stays), TURN_BYTES)

    def invite(self) -> None:
        """Say that the body is welcome – unless answers are due first: then the caller sends it without."""
        if self._is_free():
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # What an exchange calls.

    @property
    def default_fields(self) -> list[tuple[bytes, bytes]]:
        """The fields of every answer."""
        return self._server.default_headers

    def may_stay(self, exchange: Exchange) -> bool:
        """Whether the connection outlives this answer."""
        return exchange.keeps_alive and not self._has_said_all()

    def write(self, data: bytes) -> None:
        """Send."""
        self._transport.write(data)

    async def drain(self) -> None:
        """Return when the send buffer has room."""
        await self._writing.drain()

    def answered(self, *, stays: bool) -> None:
        """The answer in the making is whole: begin the next one."""
        self._current = None
        if stays:
            self._proceed()
        else:
            self._reader.enter("ended", WRITE_S)  # what does not fill the send buffer may be left unread as well
            self._transport.close()

    def abort(self) -> None:
        """The answer in the making will never be whole."""
        self._transport.abort()

    # What the server calls.

    def shutdown(self) -> None:
        """Close when what has begun is answered."""
        self.is_draining = True
        if self._is_free() and not self._reader.is_amid:
            self._transport.close()

    def expire(self, now_s: float) -> None:
        """End what has taken too long."""
        phase = self._reader.phase
        if self._writing.is_left_unread(now_s, self._transport.get_write_buffer_size()):
            self._transport.abort()
        elif now_s < self._reader.deadline_s:
            return
        elif self._is_paused or (phase == "idle" and not self._is_free()):
            self._reader.enter(phase, self._rules.settings.http.body_timeout_s)  # it is we whom all wait for
        elif self._reader.is_amid:
            self.refuse(RequestTimeoutError("the request took too long to arrive; send it again, faster"), stays=False)
            self._proceed()
        elif phase == "idle" and not self._transport.get_write_buffer_size():
            self._transport.close()
        else:  # the caller reads no answer, or sends on after the last one: closing would wait for it
            self._transport.abort()

    # Turns.

    def _is_free(self) -> bool:
        return self._current is None and not self._queue

    def _append(self, turn: Callable[[], None], size_bytes: int) -> None:
        self._queue.append((turn, size_bytes))
        self._queued_bytes += size_bytes

    def _proceed(self) -> None:
        if self._transport.is_closing():  # what is still in the queue came after the last answer, or nobody is there
            return
        while self._queue and self._current is None and not self._writing.is_full:
            turn, size_bytes = self._queue.popleft()
            self._queued_bytes -= size_bytes
            turn()
        self._pace()
        if self._is_free() and self._reader.phase == "idle":
            self._reader.enter("idle", self._rules.settings.http.keep_alive_s)

    @property
    def _is_paused(self) -> bool:
        """Whether nothing is read: enough waits for its turn, or the caller has to read first."""
        return self._queued_bytes > QUEUED_MAX_BYTES or self._writing.is_full

    def _pace(self) -> None:
        """Read on, or not, as the caller reads."""
        if self._is_paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _has_said_all(self) -> bool:
        """Whether this is the end, and the answer in the making the last."""
        return self.is_draining and not self._queue and not self._reader.is_amid

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        task = asyncio.get_running_loop().create_task(exchange.run(self._app))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _refuse(self, refusal: Refusal, error: ApiError, *, stays: bool) -> None:
        stays = stays and not self._has_said_all()
        self.write(refusal.write(error, self.default_fields, stays=stays))
        if not stays:
            self._end()

    def _end(self) -> None:
        """Say no more, and give the caller time to read what was said."""
        if not self._transport.is_closing():
            self._reader.enter("ended", LINGER_S)
            self._transport.write_eof()

    def _scope(self, reader: Reader) -> Scope:
        path, raw_path, query = head.target(reader.url)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": reader.version,
            "method": reader.method,
            "scheme": "http",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": reader.fields,
            "server": self._own,
            "client": self._peer,
            "state": self._app_state.copy(),
        }


def _address(name: object) -> tuple[str, int] | None:
    """Host and port of a TCP socket's name; a Unix socket has none."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
