"""A front end in this process: real application, server and sockets, over a fake engine and a fake clock."""

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvloop

from app.main import create_app
from app.processes.http.connection import Connection
from app.processes.server import Server, make_server
from app.serving.catalog import Catalog
from app.settings import Settings
from tests.fakes import FakeEngine
from tests.stores import outputs_of, write_store

HIGH_WATER_BYTES = 65_536  # of a transport's send buffer; beyond it the transport says that it is full
HOST = b"host: x\r\n"
JSON = b"content-type: application/json\r\n"


class FakeClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came over the socket."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of its error."""
        return str(orjson.loads(self.body)["error"]["code"])


class Caller:
    """One connection to the front end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @property
    def address(self) -> tuple[str, int]:
        """This end's."""
        host, port = self._writer.get_extra_info("sockname")
        return host, port

    def send(self, data: bytes) -> None:
        """Put `data` on the wire."""
        self._writer.write(data)

    def send_now(self, data: bytes) -> None:
        """Put `data` on the wire without a turn of the event loop."""
        handle: socket.socket = self._writer.get_extra_info("socket")
        assert os.write(handle.fileno(), data) == len(data)

    async def answer(self) -> Answer:
        """The next answer, whole."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        if fields.get("transfer-encoding") == "chunked":
            return Answer(int(status[9:12]), fields, await self._chunks())
        return Answer(int(status[9:12]), fields, await self._reader.readexactly(int(fields.get("content-length", 0))))

    async def line(self) -> bytes:
        """The next line, as it is."""
        return await self._reader.readline()

    async def is_closed(self) -> bool:
        """Wait for the other end to close; nothing may come before."""
        return await self._reader.read() == b""

    async def rest(self) -> list[Answer]:
        """Every answer up to the end of the connection."""
        answers = []
        while not self._reader.at_eof():
            try:
                answers.append(await self.answer())
            except asyncio.IncompleteReadError as error:
                assert not error.partial, "half an answer"
        return answers

    async def close(self) -> None:
        """Go away."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self._reader.readline(), 16):
            parts.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readline()
        return b"".join(parts)


class FrontEnd:
    """A front end that serves."""

    def __init__(self, server: Server, address: tuple[str, int], clock: FakeClock, serving: asyncio.Task[None]) -> None:
        self.server, self.address, self.clock, self.serving = server, address, clock, serving
        self.callers: list[Caller] = []

    async def call(self) -> Caller:
        """A new connection."""
        caller = Caller(*await asyncio.open_connection(*self.address))
        self.callers.append(caller)
        return caller

    async def adopt(self, connection: socket.socket) -> Caller:
        """A connection that was made outside of the event loop."""
        caller = Caller(*await asyncio.open_connection(sock=connection))
        self.callers.append(caller)
        return caller

    async def send(self, data: bytes) -> list[Answer]:
        """Every answer to `data`, on a connection of its own that the server has to close."""
        caller = await self.call()
        caller.send(data)
        return await caller.rest()

    def pass_time(self, seconds: float) -> None:
        """Let so much time go by, and have the server look at its connections."""
        self.clock.now_s += seconds
        self.server.sweep()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the loop turn until `holds`."""
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110  # what the other end has done has no event of its own
                await asyncio.sleep(0)

    @property
    def connections(self) -> list[Connection]:
        """The open ones."""
        return [each for each in self.server.server_state.connections if isinstance(each, Connection)]

    async def phase(self, name: str) -> None:
        """Return when the newest connection is in this phase."""
        await self.until(lambda: self.newest is not None and self.newest._reader.phase == name)

    async def seen(self, count: int) -> None:
        """Return when the newest connection has so many bytes of a head or body."""
        await self.until(lambda: self.newest is not None and self.newest._reader._seen_bytes == count)

    @property
    def newest(self) -> Connection | None:
        """The connection of the caller that called last."""
        own = self.callers[-1].address
        return next((each for each in self.connections if each._peer == own), None)


@asynccontextmanager
async def serving(catalog: Catalog, settings: Settings, engine: FakeEngine | None = None) -> AsyncIterator[FrontEnd]:
    """A front end on a free port; it has ended when the block has."""
    app = create_app(settings, engine or FakeEngine(outputs_of()), catalog)
    clock, listener = FakeClock(), socket.create_server(("127.0.0.1", 0))
    server = make_server(app, settings, clock=clock)
    task = asyncio.create_task(server._serve([listener]))  # without the signal handlers, which are this process's
    front_end = FrontEnd(server, listener.getsockname(), clock, task)
    await front_end.until(lambda: server.started)
    try:
        yield front_end
    finally:
        server.should_exit = True
        for caller in front_end.callers:
            await caller.close()
        server.force_exit = True  # what is still in the house is no part of the test
        for connection in front_end.connections:
            connection.abort()
        await task


async def narrow(front_end: FrontEnd) -> tuple[socket.socket, Connection]:
    """Both ends of a connection for which the kernel keeps next to nothing: what is unread stays with the front end."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.connect(front_end.address)
    caller.setblocking(False)
    own = caller.getsockname()
    await front_end.until(lambda: any(each._peer == own for each in front_end.connections))
    (connection,) = [each for each in front_end.connections if each._peer == own]
    connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return caller, connection


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test on the event loop that the service runs on."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test()

    uvloop.run(bounded())


def open_catalog(folder: Path) -> Catalog:
    """Five models, one of each kind."""
    return Catalog.open(folder / "store", write_store(folder / "store"))


def post(body: bytes, *fields: bytes, path: bytes = b"/embed") -> bytes:
    """A request with a body of announced length."""
    return head(*fields, b"content-length: %d\r\n" % len(body), path=path) + body


def head(*fields: bytes, path: bytes = b"/embed") -> bytes:
    """The head of a POST of JSON."""
    return b"POST %s HTTP/1.1\r\n" % path + HOST + JSON + b"".join(fields) + b"\r\n"


def get(path: bytes, *fields: bytes) -> bytes:
    """A GET."""
    return b"GET %s HTTP/1.1\r\n" % path + HOST + b"".join(fields) + b"\r\n"


def id_of(number: int) -> bytes:
    """A field that marks a request."""
    return b"x-request-id: n-%d\r\n" % number


def ids(answers: list[Answer]) -> list[str]:
    """The marks that the answers bring back."""
    return [re.sub("n-", "", answer.fields["x-request-id"]) for answer in answers]
