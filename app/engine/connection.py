"""How does a front end's end of the wire get frames on and off a socket?

What one turn of the event loop sends leaves in one write; what arrives is cut into frames and handed on at once.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from app.engine.frames import FrameError, FrameReader, Kind


class Connection(asyncio.Protocol):
    """`on_frame` gets every frame, `on_lost` the end, once."""

    def __init__(
        self, on_frame: Callable[["Connection", Kind, bytes], None], on_lost: Callable[["Connection"], None]
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._outbox: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Queue a frame for the end of this loop turn. Frames for a closed connection are dropped."""
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(data)

    def close(self) -> None:
        """Close after what was sent has left."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods and not the base class

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: hand on every complete frame; a malformed one ends the connection."""
        try:
            for kind, body in self._reader.feed(data):
                self._on_frame(self, kind, body)
        except FrameError:
            if self._transport is not None:
                self._transport.abort()
            raise

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._transport = None
        self._on_lost(self)

    def _flush(self) -> None:
        if self._outbox and self._transport is not None:
            self._transport.write(b"".join(self._outbox))
        self._outbox.clear()
