"""A service small enough to be understood at a glance: real sockets, answers made by the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson

Answering = Callable[[str], Awaitable[tuple[int, bytes]]]


def embedding(dimensions: int, tokens: int, vectors: int = 1) -> bytes:
    """The body of a right answer, as far as the load generator reads it."""
    return orjson.dumps({"embeddings": [[0.5] * dimensions] * vectors, "usage": {"tokens": tokens}})


async def right(text: str) -> tuple[int, bytes]:
    """Two dimensions, and one token a letter."""
    return 200, embedding(2, len(text))


@asynccontextmanager
async def serving(answering: Answering) -> AsyncIterator[tuple[str, int]]:
    """The address of a server that answers each text as `answering` says; status 0 closes the connection instead."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await _head(reader):
                size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                status, body = await answering(orjson.loads(await reader.readexactly(size))["text"])
                if not status:
                    return
                writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The head of the next request; empty when the client has gone."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
