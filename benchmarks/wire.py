"""How does the load generator speak HTTP at little cost?

Requests are whole bytes before the clock starts; a connection is a plain non-blocking socket that holds one request at
a time, and an answer is cut at its Content-Length. The generator shares the cores with the service: a client library
would cost more CPU a request than the service's own front end. Only 127.0.0.1 is ever spoken to; the service takes
each address of 127.0.0.0/8 that it is spoken to from for another caller.
"""

import contextlib
import re
import socket
from dataclasses import dataclass

HOST = "127.0.0.1"
HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)\r\n", re.IGNORECASE)
READ_BYTES = 2**18


class BrokenAnswerError(Exception):
    """What came is no answer to what was asked."""


class UnaskedAnswerError(BrokenAnswerError):
    """An answer came that nobody asked for, or two came for one request."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, body, and the seconds of Retry-After if the answer has them."""

    status: int
    body: bytes
    retry_after_s: int | None = None


def post(path: str, body: bytes, accept: str = "application/json") -> bytes:
    """The bytes of a POST request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\naccept: {accept}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One kept-alive connection; `asked` is the question that it carries, or None."""

    __slots__ = ("_received", "_socket", "asked", "fd", "unsent")

    def __init__(self, host: str, port: int, source: str | None = None) -> None:
        """Connect, from the address `source` if one is given.

        Raises:
            ValueError: another host. OSError: nobody listens, or `source` is no address of this machine.
        """
        if host != HOST:
            raise ValueError(f"the load generator speaks to {HOST} only, not to {host}")
        self._socket = socket.create_connection((host, port), source_address=(source, 0) if source else None)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self._socket.fileno()
        self._received = b""
        self.unsent = b""
        self.asked: int | None = None

    def send(self, request: bytes) -> bool:
        """Write as much as the socket takes; True once nothing is `unsent`.

        Raises:
            OSError: the connection is closed.
        """
        try:
            written = self._socket.send(request)
        except BlockingIOError:
            written = 0
        self.unsent = request[written:]
        return not self.unsent

    def receive(self) -> Reply | None:
        """Read what is there; the answer once it is whole.

        Raises:
            ConnectionError: the other side closed. BrokenAnswerError: bytes that nobody asked for, or no length.
        """
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        if not data:
            raise ConnectionError("closed before the answer was whole" if self.asked is not None else "closed idle")
        data = self._received = self._received + data if self._received else data
        head_bytes = data.find(HEAD_END) + len(HEAD_END)
        if head_bytes < len(HEAD_END):
            return None
        found = CONTENT_LENGTH.search(data, 0, head_bytes)
        if self.asked is None:
            raise UnaskedAnswerError("an answer that nobody asked for")
        if found is None:
            raise BrokenAnswerError("an answer without content-length")
        size = head_bytes + int(found[1])
        if len(data) < size:
            return None
        if len(data) > size:
            raise UnaskedAnswerError("more than one answer to one request")
        self._received = b""
        status = int(data[9:12])
        retry = RETRY_AFTER.search(data, 0, head_bytes) if status != 200 else None
        return Reply(status, data[head_bytes:], int(retry[1]) if retry else None)

    def close(self) -> None:
        """Close at once."""
        with contextlib.suppress(OSError):
            self._socket.close()
