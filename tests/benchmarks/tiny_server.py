"""A service small enough to be understood at a glance: real sockets, answers made by the test."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import orjson

Answering = Callable[[str], Awaitable[tuple[int, bytes]]]

REFUSAL = b"refused"  # a body that comes with Retry-After


def embedding(dimensions: int, tokens: int, vectors: int = 1, value: float = 0.5) -> bytes:
    """The body of a right answer, as far as the load generator reads it."""
    items = [{"tokens": tokens, "truncated": False}] * vectors
    usage = {"tokens": tokens * vectors}
    return orjson.dumps({"embeddings": [[value] * dimensions] * vectors, "items": items, "usage": usage})


async def right(text: str) -> tuple[int, bytes]:
    """Two dimensions, and one token a letter."""
    return 200, embedding(2, len(text))


@contextmanager
def serving(answering: Answering) -> Iterator[int]:
    """The port of a server in a thread of its own, which answers each text as `answering` says.

    Status 0 closes the connection instead; a 429 has Retry-After if its body is `REFUSAL`.
    """
    started, stop = threading.Event(), asyncio.Event()
    ports: list[int] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        async with _listening(answering) as port:
            ports.append(port)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(30)
    try:
        yield ports[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()


@asynccontextmanager
async def _listening(answering: Answering) -> AsyncIterator[int]:
    over = asyncio.Event()  # the test has seen enough: nobody waits for an answer any more

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            text = _text(orjson.loads(await reader.readexactly(size)))
            status, body = await _unless(over, answering(text))
            if not status:
                break
            retry = b"retry-after: 2\r\n" if body == REFUSAL else b""
            writer.write(b"HTTP/1.1 %d x\r\n%sContent-Length: %d\r\n\r\n" % (status, retry, len(body)) + body)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:  # they end: the clients have closed
            await asyncio.wait(others)
        server.close()  # in the very turn that found nobody left: asyncio trips over a connection it accepts later


async def _unless(over: asyncio.Event, answer: Awaitable[tuple[int, bytes]]) -> tuple[int, bytes]:
    """The answer, or the end of the connection if the test is over first."""
    answering, ending = asyncio.ensure_future(answer), asyncio.ensure_future(over.wait())
    await asyncio.wait({answering, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if answering.done():
        return answering.result()
    answering.cancel()
    return 0, b""


def _text(body: dict[str, str | Sequence[str]]) -> str:
    text = body.get("text") or body.get("texts")
    return text if isinstance(text, str) else " ".join(text or ())


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The head of the next request; empty when the client has gone."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
