"""How does the load generator speak HTTP at little cost?

One kept-alive HTTP/1.1 connection that holds one request at a time: the generator shares the cores with the service,
and a full client library would cost more CPU a request than the service's own front end. Answers need a
Content-Length; the service always sends one. Only 127.0.0.1 is ever spoken to.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import cast

HOST = "127.0.0.1"
HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and body of an answer."""

    status: int
    body: bytes


def post(path: str, body: bytes) -> bytes:
    """The bytes of a POST request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection; `ask` from one task at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._reply: asyncio.Future[Reply] | None = None

    async def ask(self, request: bytes) -> Reply:
        """Send a request and return its answer.

        Raises:
            ConnectionError: the connection is closed, closed before the answer was whole, or is not HTTP as above.
        """
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._reply

    def close(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass, so no isinstance

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: complete the answer when its last byte is in."""
        self._received += data
        head_bytes = self._received.find(HEAD_END) + len(HEAD_END)
        if head_bytes < len(HEAD_END):
            return
        found = CONTENT_LENGTH.search(self._received, 0, head_bytes)
        if found is None or self._reply is None:
            self._fail("an answer without content-length, or one that nobody asked for")
            return
        size = head_bytes + int(found[1])
        if len(self._received) >= size:
            reply = Reply(int(self._received[9:12]), bytes(self._received[head_bytes:size]))
            del self._received[:size]
            waiting, self._reply = self._reply, None
            if not waiting.done():
                waiting.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._transport = None
        self._fail("the connection was closed before the answer was whole")

    def _fail(self, reason: str) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionError(reason))
        self.close()


async def connect(host: str, port: int) -> Connection:
    """An open connection to this machine.

    Raises:
        ValueError: another host. OSError: nobody listens.
    """
    if host != HOST:
        raise ValueError(f"the load generator speaks to {HOST} only, not to {host}")
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return connection
