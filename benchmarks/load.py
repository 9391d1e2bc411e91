"""How is load put on a service so that the figures mean something?

Closed loop: each of N clients asks, waits for the answer, asks again; it finds the highest rate, and says little about
latency, because a slow service is asked less. Open loop: requests are due at set times, whatever the service does, and
latency counts from the time a request was due, so that a stall is felt by every request that it held up
(G. Tene, "How NOT to Measure Latency": coordinated omission).

Both are bounded in count and time. The clock is passed in.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Protocol

from benchmarks.connection import Connection, connect
from benchmarks.tally import Question, Tally

Address = tuple[str, int]


class Timer(Protocol):
    """Time as the load sees it; a fake one in tests."""

    def now(self) -> float:
        """Seconds that only grow."""
        ...

    async def until(self, at_s: float) -> None:
        """Return at `at_s` or as soon after as can be."""
        ...


class RealTimer:
    """The machine's clock."""

    def now(self) -> float:
        """See `Timer`."""
        return time.perf_counter()

    async def until(self, at_s: float) -> None:
        """See `Timer`."""
        if (wait_s := at_s - self.now()) > 0:
            await asyncio.sleep(wait_s)


def fixed(rate_per_s: float, count: int) -> list[float]:
    """When `count` requests are due, evenly spaced."""
    return [index / rate_per_s for index in range(count)]


def poisson(rate_per_s: float, count: int, seed: int) -> list[float]:
    """When `count` requests are due that come independently of one another."""
    rng = random.Random(seed)
    return list(accumulate(rng.expovariate(rate_per_s) for _ in range(count)))


async def closed_loop(
    address: Address, questions: Sequence[Question], *, clients: int, limit_s: float, timer: Timer
) -> Tally:
    """Ask every question once, `clients` at a time, for at most `limit_s`."""
    tally = Tally()
    left = iter(questions)
    connections = [await connect(*address) for _ in range(clients)]
    await _bounded([_client(address, connection, left, tally, timer) for connection in connections], limit_s)
    tally.close()
    return tally


async def open_loop(
    address: Address,
    questions: Sequence[Question],
    due_s: Sequence[float],
    *,
    connections: int,
    limit_s: float,
    timer: Timer,
) -> Tally:
    """Ask question i when `due_s[i]` has come, over whichever connection is free, for at most `limit_s`."""
    tally = Tally()
    due: asyncio.Queue[tuple[float, Question] | None] = asyncio.Queue()
    opened = [await connect(*address) for _ in range(connections)]
    schedule = _schedule(questions, due_s, due, len(opened), tally, timer)
    await _bounded([schedule, *(_worker(address, each, due, tally, timer) for each in opened)], limit_s)
    tally.close()
    return tally


async def _schedule(
    questions: Sequence[Question],
    due_s: Sequence[float],
    due: asyncio.Queue[tuple[float, Question] | None],
    workers: int,
    tally: Tally,
    timer: Timer,
) -> None:
    started_s = timer.now()
    for question, offset_s in zip(questions, due_s, strict=True):
        await timer.until(started_s + offset_s)
        tally.late_s.append(timer.now() - started_s - offset_s)
        tally.asked += 1
        due.put_nowait((started_s + offset_s, question))
    for _ in range(workers):
        due.put_nowait(None)  # nothing more will be due


async def _worker(
    address: Address,
    connection: Connection,
    due: asyncio.Queue[tuple[float, Question] | None],
    tally: Tally,
    timer: Timer,
) -> None:
    try:
        while (next_one := await due.get()) is not None:
            since_s, question = next_one
            connection = await _ask(address, connection, question, since_s, tally, timer)
    finally:
        connection.close()


async def _client(
    address: Address, connection: Connection, left: Iterator[Question], tally: Tally, timer: Timer
) -> None:
    try:
        for question in left:  # one iterator for all clients: each takes the next
            tally.asked += 1
            connection = await _ask(address, connection, question, timer.now(), tally, timer)
    finally:
        connection.close()


async def _ask(
    address: Address, connection: Connection, question: Question, since_s: float, tally: Tally, timer: Timer
) -> Connection:
    """Ask, tally the answer, and return the connection for the next question: a new one if this one broke."""
    try:
        reply = await connection.ask(question.request)
    except ConnectionError as error:
        tally.add_failure(error)
        return await connect(*address)
    tally.add(question, reply, timer.now() - since_s)
    return connection


async def _bounded(parts: Iterable[Coroutine[None, None, None]], limit_s: float) -> None:
    # What has no answer when the time is up is counted by Tally.close.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
