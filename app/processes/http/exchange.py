"""How does the application see one request, and how does its answer become bytes?

The server's side of ASGI 3.0 for a request that is whole: `receive` gives it in one piece. An answer is written with as
few calls as the application makes; one that comes in parts without a length goes out in chunks, or until the
connection's end for HTTP/1.0.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from starlette.types import ASGIApp, Message, Scope

from app.processes.http import head

log = logging.getLogger(__name__)

Framing = Literal["length", "chunks", "close", "none"]
BODILESS = frozenset({204, 304})


class Line(Protocol):
    """The connection, as an exchange needs it."""

    is_lost: bool

    @property
    def default_fields(self) -> Sequence[tuple[bytes, bytes]]:
        """The fields of every answer: its date."""

    def may_stay(self, exchange: "Exchange") -> bool:
        """Whether the connection outlives this answer."""

    def write(self, data: bytes) -> None:
        """Send."""

    async def drain(self) -> None:
        """Return when what was sent has left far enough."""

    def answered(self, *, stays: bool) -> None:
        """The answer is whole."""

    def abort(self) -> None:
        """The answer will never be whole."""


class Exchange:
    """One request and its answer."""

    __slots__ = (
        "_answer", "_body", "_framing", "_gone", "_is_done", "_left", "_line", "_on_gone", "_stays", "keeps_alive",
        "scope",
    )  # fmt: skip

    def __init__(self, line: Line, scope: Scope, body: bytes, *, keeps_alive: bool) -> None:
        self._line = line
        self.scope = scope
        self.keeps_alive = keeps_alive
        self._body: bytes | None = body
        self._answer: Message | None = None
        self._framing: Framing = "none"
        self._left = 0  # bytes that the promised length still lacks
        self._stays = False
        self._is_done = False
        self._gone: asyncio.Future[None] | None = None
        self._on_gone: Callable[[], None] | None = None

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            log.exception("the application failed in the middle of an answer")
        finally:
            if not self._is_done:
                self._line.abort()

    def on_gone(self, callback: Callable[[], None] | None) -> None:
        """What to call if the caller goes away: the extension `ON_GONE` of the scope."""
        self._on_gone = callback
        if callback is not None and self._line.is_lost:
            callback()

    def gone(self) -> None:
        """The caller went away."""
        if self._on_gone is not None:
            self._on_gone()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def receive(self) -> Message:
        """ASGI: the whole body, and then nothing but the caller's leaving or the answer's end."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if not self._is_done and not self._line.is_lost:
            self._gone = self._gone or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._gone)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI: the head, kept until there is something of the body, or a part of the body."""
        if self._line.is_lost:
            return
        if message["type"] == "http.response.start":
            self._answer = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        start = b"" if self._answer is None else self._begin(self._answer, body, more)
        self._line.write(start + self._framed(body, more))
        if more:
            await self._line.drain()
        else:
            self._finish()

    def _begin(self, answer: Message, body: bytes, more: bool) -> bytes:
        self._answer = None
        status, fields = answer["status"], [*self._line.default_fields, *answer.get("headers", ())]
        length = next((value for name, value in fields if name == b"content-length"), None)
        if self.scope["method"] == "HEAD" or status in BODILESS:
            self._framing = "none"
        elif length is not None:
            self._framing, self._left = "length", int(length)
        elif not more:
            self._framing, self._left = "length", len(body)
            fields.append((b"content-length", b"%d" % len(body)))
        elif self.scope["http_version"] == "1.1":
            self._framing = "chunks"
            fields.append((b"transfer-encoding", b"chunked"))
        else:
            self._framing = "close"
        closes = self._framing == "close" or (b"connection", b"close") in fields
        self._stays = not closes and self._line.may_stay(self)
        return head.write(status, fields, close=not self._stays)

    def _framed(self, body: bytes, more: bool) -> bytes:
        if self._framing == "none":
            return b""
        if self._framing == "chunks":
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        if self._framing == "length":
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the answer has not the length that its head promises")
        return body

    def _finish(self) -> None:
        self._is_done = True
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._line.answered(stays=self._stays)
