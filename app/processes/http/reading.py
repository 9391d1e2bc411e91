"""When is a request whole, and when is it refused before that?

A reader takes the bytes of one connection, has llhttp cut them into requests, and gives its owner each that is whole.
What may not be taken it raises: bytes that are not HTTP, a head or a body over the limits – counted as received, also
what chunks and trailers wrap around a body. Under load the gate refuses a request by its head; its body is then read
and dropped, so that the connection stays in use.

Time limits cost nothing while bytes flow: each change of phase sets `deadline_s`, and somebody looks now and then.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import httptools

from app.api.deps import too_large
from app.errors import ApiError, InvalidHttpError, OverloadedError
from app.processes.http import head
from app.processes.http.parser import Parser
from app.settings import Settings
from app.types import Clock

Phase = Literal["idle", "head", "body", "ended"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What all connections of a process share."""

    settings: Settings
    gate: Callable[[str], None]  # raises OverloadedError if what this principal sends now is to be refused
    gated: frozenset[bytes]  # targets whose POSTs pass the gate
    clock: Clock


class Owner(Protocol):
    """The connection, as its reader needs it."""

    principal: str  # who asks, as far as fairness goes

    def take(self, reader: "Reader") -> None:
        """A request is whole: it stands in the reader until the next begins."""

    def refuse(self, error: ApiError, *, stays: bool) -> None:
        """A request is refused; the rest of it is read and dropped if the connection `stays`."""

    def invite(self) -> None:
        """The caller waits to be told that its body is welcome."""


class Reader:
    """The requests of one connection, as they come in."""

    def __init__(self, rules: Rules, owner: Owner) -> None:
        self._rules = rules
        self._owner = owner
        self._parser = Parser(self)
        self._messages = 0
        self._chunk_bytes = 0  # of the data that is being read now
        self._first_bytes = 0  # of the data in which this head, or this body, began
        self._seen_bytes = 0  # since then; the head or body has so many, less what stood before it
        self._new()
        self.enter("idle", rules.settings.http.keep_alive_s)

    def _new(self) -> None:
        self.url, self.fields, self.named = b"", list[tuple[bytes, bytes]](), dict[bytes, bytes]()
        self.method, self.version = "-", "1.1"
        self.body: bytes | bytearray = b""
        self.keeps_alive = False
        self.begun_s = self._rules.clock()
        self._drops = False

    def enter(self, phase: Phase, limit_s: float) -> None:
        """Be in `phase`, and not for longer than `limit_s`."""
        self.phase: Phase = phase
        self.deadline_s = self._rules.clock() + limit_s

    @property
    def is_amid(self) -> bool:
        """Whether a request has begun that is neither whole nor refused."""
        return self.phase == "head" or (self.phase == "body" and not self._drops)

    @property
    def drops(self) -> bool:
        """Whether what comes in belongs to a request that is refused already."""
        return self.phase == "body" and self._drops

    def feed(self, data: bytes) -> None:
        """Read `data`.

        Raises:
            ApiError: what came may not be taken; nothing more can be read.
        """
        self._chunk_bytes, message = len(data), self._messages
        self._seen_bytes += len(data)
        try:
            self._parser.feed(data)
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            if self.phase != "ended":  # else it follows a request that was to be the last
                raise InvalidHttpError("the bytes are not a request of HTTP/1.1") from error
        if self._messages == message:
            self._check_seen()

    def _check_seen(self) -> None:
        """Bound what is not whole yet. What of the first data belongs to it is unknown, so that is left out."""
        seen_bytes, limits = self._seen_bytes - self._first_bytes, self._rules.settings
        if self.phase == "head" and seen_bytes > limits.http.head_bytes:
            raise head.too_large(limits.http)
        if self.phase == "body" and seen_bytes > 2 * limits.limits.body_bytes:  # chunks of one byte are six on the wire
            raise too_large(limits.limits.body_bytes)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """See `Sink`."""
        if self.phase == "ended":  # llhttp knows of `connection: close`, and not that HTTP/1.0 always ends here
            raise InvalidHttpError("the connection ends with the answer to the request before")
        self._new()
        self._messages += 1
        self._seen_bytes = self._first_bytes = self._chunk_bytes
        self.enter("head", self._rules.settings.http.head_timeout_s)

    def on_url(self, url: bytes) -> None:
        """See `Sink`."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `Sink`. A trailer's fields are dropped."""
        if self.phase == "head":
            self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """See `Sink`. The last moment at which a request has cost nothing."""
        if self._parser.has_offer:
            return
        rules, limits = self._rules, self._rules.settings.http
        self.method, self.version = self._parser.method, self._parser.version
        if self.method == "CONNECT":  # llhttp stops after it, for a tunnel
            raise InvalidHttpError("the service is no proxy")
        self.named = head.check(self.url, self.fields, self.version, limits, seen_bytes=self._seen_bytes)
        self.keeps_alive = self.version == "1.1" and self._parser.keeps_alive
        self._seen_bytes = self._first_bytes = self._chunk_bytes
        self.enter("body", limits.body_timeout_s)
        length = int(self.named.get(b"content-length", b"0"))
        if length > rules.settings.limits.body_bytes:
            raise too_large(rules.settings.limits.body_bytes)
        waits = self.version == "1.1" and self.named.get(b"expect", b"").lower() == b"100-continue"
        if self.method == "POST" and self.url in rules.gated:
            try:
                rules.gate(self._owner.principal)
            except OverloadedError as error:
                # A caller that waits may send its body or not: what comes next could be read in two ways.
                if waits or not self.keeps_alive:
                    raise
                self._drops = True
                self._owner.refuse(error, stays=True)
                return
        if waits:
            self._owner.invite()

    def on_body(self, body: bytes) -> None:
        """See `Sink`."""
        if self._drops:
            return
        limit_bytes = self._rules.settings.limits.body_bytes
        if len(self.body) + len(body) > limit_bytes:
            raise too_large(limit_bytes)
        if not self.body:
            self.body = body  # nearly always the whole of it
        elif isinstance(self.body, bytearray):
            self.body += body
        else:
            self.body = bytearray(self.body) + body

    def on_message_complete(self) -> None:
        """See `Sink`."""
        if self._parser.has_offer:
            return
        if self.keeps_alive:
            self.enter("idle", self._rules.settings.http.keep_alive_s)
        else:
            self.enter("ended", math.inf)
        if not self._drops:
            self._owner.take(self)
