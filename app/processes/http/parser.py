"""How is a request read whose client offers to go on in another protocol?

As if it had offered nothing, which a server may do (RFC 9110, section 7.8). Java's HttpClient offers h2c with its first
request. llhttp takes whatever follows such a head for the other protocol's, so the body would be lost: here it gets the
head a second time, without the offer.
"""

from typing import Protocol

import httptools


class Sink(Protocol):
    """What the parser tells, in the order of the bytes. An exception of a callback ends the parsing."""

    url: bytes
    fields: list[tuple[bytes, bytes]]  # of the head that was just read, names in small letters

    def on_message_begin(self) -> None:
        """The first byte of a request."""

    def on_url(self, url: bytes) -> None:
        """Some of the request's target."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field, of the head or the trailer."""

    def on_headers_complete(self) -> None:
        """The head is whole. Nothing may be taken from it if `Parser.has_offer`: it comes again."""

    def on_body(self, body: bytes) -> None:
        """Some of the body."""

    def on_message_complete(self) -> None:
        """The request is whole, unless `Parser.has_offer`."""


class Parser:
    """llhttp, strict, deaf to offers of an upgrade."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parser = httptools.HttpRequestParser(sink)

    @property
    def method(self) -> str:
        """The method of the request whose head is whole."""
        return str(self._parser.get_method().decode())

    @property
    def version(self) -> str:
        """Its HTTP version: "1.1", "1.0"."""
        return str(self._parser.get_http_version())

    @property
    def keeps_alive(self) -> bool:
        """Whether the client means to send another request on this connection."""
        return bool(self._parser.should_keep_alive())

    @property
    def has_offer(self) -> bool:
        """Whether llhttp stops after this head for an upgrade (it stops for CONNECT, too, which offers nothing)."""
        return bool(self._parser.should_upgrade()) and any(name == b"upgrade" for name, _ in self._sink.fields)

    def feed(self, data: bytes) -> None:
        """Read `data`.

        Raises:
            httptools.HttpParserError: it is not HTTP/1; a callback's exception is its context.
        """
        rest = memoryview(data)
        while True:
            try:
                self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as stop:
                if not self.has_offer:
                    raise
                rest = rest[stop.args[0] :]
            # Not above, where `stop` would become the context of what is raised, in place of a callback's exception.
            head = self._head_without_offer()
            self._parser = httptools.HttpRequestParser(self._sink)  # the old one may be done with its message
            self._parser.feed_data(head)

    def _head_without_offer(self) -> bytes:
        start = f"{self.method} ".encode() + self._sink.url + f" HTTP/{self.version}\r\n".encode()
        kept = (b"%s: %s\r\n" % field for field in self._sink.fields if field[0] != b"upgrade")
        return start + b"".join(kept) + b"\r\n"
