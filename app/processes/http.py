"""How is a request read whose client offers to go on in another protocol?

As if it had offered nothing, which a server may do (RFC 9110, section 7.8). Java's HttpClient offers h2c with its first
request. The parser takes whatever follows such a head for the other protocol's, so the body would be lost: here it gets
the head a second time, without the offer.
"""

import asyncio
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState


class Http1(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, deaf to offers of an upgrade."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = _Parser(self)

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if not self.has_offer():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if not self.has_offer():
            super().on_message_complete()

    def has_offer(self) -> bool:
        """Whether the parser means to stop after this head (it does so for CONNECT, too, which offers nothing)."""
        return bool(self.parser.should_upgrade()) and any(name == b"upgrade" for name, _ in self.headers)

    def head_without_offer(self) -> bytes:
        """The head that was just read, to be read again."""
        version: str = self.parser.get_http_version()
        start = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version.encode())
        return start + b"".join(b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade") + b"\r\n"


class _Parser(httptools.HttpRequestParser):  # type: ignore[misc]  # httptools leaves it untyped
    def __init__(self, protocol: Http1) -> None:
        super().__init__(protocol)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does with its own
        self._protocol = protocol

    def feed_data(self, data: bytes) -> None:
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            if not self._protocol.has_offer():
                raise
            (rest,) = stop.args
            again = self._protocol.head_without_offer() + data[rest:]
            self._protocol.parser = _Parser(self._protocol)  # this one may be done: it read a whole message
            self._protocol.parser.feed_data(again)
