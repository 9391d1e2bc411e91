"""How does a client ask at little cost and still check every answer?

One kept-alive connection that asks, waits, and asks again; what comes has to begin as it should and be whole.
"""

import asyncio
from collections.abc import Iterator
from typing import cast

HOST = "127.0.0.1"
HEAD_END, LENGTH = b"\r\n\r\n", b"content-length: "


class Client(asyncio.Protocol):
    """One connection that asks and waits in turn."""

    def __init__(self, expected: bytes) -> None:
        self._expected = expected
        self._received = b""
        self._answered: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._received += data
        head_bytes = self._received.find(HEAD_END) + len(HEAD_END)
        if head_bytes < len(HEAD_END) or self._answered is None:
            return
        at = self._received.index(LENGTH) + len(LENGTH)
        size = head_bytes + int(self._received[at : self._received.index(b"\r", at)])
        if len(self._received) < size:
            return
        answer, self._received = self._received, b""
        if len(answer) == size and answer.startswith(self._expected):
            self._answered.set_result(None)
        else:
            self._answered.set_exception(ValueError(f"not the answer that is due: {answer[:200]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ValueError("the front end closed a connection"))

    def send(self, request: bytes) -> None:
        """Ask without waiting."""
        self._transport.write(request)

    async def ask_all(self, requests: Iterator[bytes]) -> None:
        """Ask one after the other, until nobody has any left."""
        for request in requests:
            self._answered = asyncio.get_running_loop().create_future()
            self.send(request)
            await self._answered

    def close(self) -> None:
        """Close at once."""
        self._answered = None
        self._transport.abort()


async def connect(port: int, expected: bytes) -> Client:
    """A client of the service on `port`, whose answers begin with `expected`."""
    _, client = await asyncio.get_running_loop().create_connection(lambda: Client(expected), HOST, port)
    return client


def post(body: bytes) -> bytes:
    """The bytes of a request of /embed."""
    head = b"POST /embed HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body
