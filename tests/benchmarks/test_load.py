"""The load generator against a real socket: what it counts, and from when it measures."""

import asyncio
from collections.abc import Sequence

import orjson
import pytest

from benchmarks.connection import Reply, connect, post
from benchmarks.load import RealTimer, closed_loop, fixed, open_loop, poisson
from benchmarks.tally import Question, Tally, judge, latency, percentile
from tests.benchmarks.tiny_server import Answering, embedding, right, serving

TEXTS = ["one", "three", "seventy-seven"] * 20


class FakeTimer:
    """A clock that stands still unless told, and jumps to what is waited for."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s

    async def until(self, at_s: float) -> None:
        self.now_s = max(self.now_s, at_s)  # gives way to nobody: a schedule on this clock is through at once


def questions(texts: Sequence[str], dimensions: int = 2) -> list[Question]:
    return [Question(post("/embed", orjson.dumps({"text": text})), dimensions, len(text)) for text in texts]


def close_loop(answering: Answering, texts: Sequence[str], *, clients: int = 4, limit_s: float = 60) -> Tally:
    async def run() -> Tally:
        async with serving(answering) as address:
            return await closed_loop(address, questions(texts), clients=clients, limit_s=limit_s, timer=RealTimer())

    return asyncio.run(run())


def test_closed_loop_asks_every_question_once() -> None:
    seen: list[str] = []

    async def answering(text: str) -> tuple[int, bytes]:
        seen.append(text)
        return await right(text)

    tally = close_loop(answering, TEXTS)

    assert sorted(seen) == sorted(TEXTS)
    assert (tally.asked, tally.verdicts, len(tally.latencies_s)) == (60, {"answered": 60}, 60)


def test_closed_loop_keeps_as_many_requests_open_as_it_has_clients() -> None:
    open_now, most, all_here = 0, 0, asyncio.Event()

    async def answering(text: str) -> tuple[int, bytes]:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        if open_now == 5:
            all_here.set()
        await all_here.wait()  # nobody is answered before five have asked
        open_now -= 1
        return await right(text)

    close_loop(answering, TEXTS, clients=5)

    assert most == 5


def test_open_loop_latency_counts_from_when_a_request_was_due() -> None:
    timer, stall, asked = FakeTimer(), asyncio.Event(), asyncio.Event()

    async def answering(text: str) -> tuple[int, bytes]:
        asked.set()
        await stall.wait()
        return await right(text)

    async def run() -> Tally:
        async with serving(answering) as address:
            load = open_loop(
                address, questions(["a", "b", "c"]), [0.0, 1.0, 2.0], connections=1, limit_s=60, timer=timer
            )
            running = asyncio.create_task(load)
            await asked.wait()  # all three are due by now, over the one connection that is held up
            timer.now_s = 10.0
            stall.set()
            return await running

    tally = asyncio.run(run())

    assert tally.verdicts == {"answered": 3}
    assert tally.latencies_s == [10.0, 9.0, 8.0]
    assert tally.late_s == [0.0, 0.0, 0.0]


def test_open_loop_asks_when_due_although_nothing_is_answered() -> None:
    timer, stall, asked = FakeTimer(), asyncio.Event(), asyncio.Semaphore(0)

    async def answering(text: str) -> tuple[int, bytes]:
        asked.release()
        await stall.wait()
        return await right(text)

    async def run() -> Tally:
        async with serving(answering) as address:
            load = open_loop(address, questions(TEXTS[:8]), fixed(4, 8), connections=8, limit_s=60, timer=timer)
            running = asyncio.create_task(load)
            for _ in range(8):
                await asked.acquire()
            stall.set()
            return await running

    assert asyncio.run(run()).verdicts == {"answered": 8}


def test_wrong_shed_and_failed_answers_are_told_apart() -> None:
    bodies = {
        "right": (200, embedding(2, 5)),
        "two vectors": (200, embedding(2, 11, vectors=2)),
        "three values": (200, embedding(3, 12)),
        "another text": (200, embedding(2, 1)),
        "no json": (200, b"<html>"),
        "overload": (429, b"{}"),
        "fault": (500, b"{}"),
        "cut off": (0, b""),
    }

    async def answering(text: str) -> tuple[int, bytes]:
        return bodies[text]

    tally = close_loop(answering, list(bodies), clients=1)

    assert tally.verdicts == {"answered": 1, "wrong": 4, "shed": 1, "failed": 2}
    assert tally.errors == {
        "not one vector of 2 values": 2,
        "the answer to another text": 1,
        "not an answer of /embed": 1,
        "429": 1,
        "500": 1,
        "the connection was closed before the answer was whole": 1,
    }
    assert len(tally.latencies_s) == 1


def test_what_has_no_answer_when_the_time_is_up_is_failed() -> None:
    never = asyncio.Event()

    async def answering(text: str) -> tuple[int, bytes]:
        await never.wait()
        return await right(text)

    tally = close_loop(answering, TEXTS, clients=3, limit_s=0.05)

    assert (tally.asked, tally.verdicts) == (3, {"failed": 3})
    assert tally.errors == {"no answer within the time limit": 3}


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "example.org"])
def test_other_hosts_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1 only"):
        asyncio.run(connect(host, 80))


def test_an_answer_in_pieces_is_put_together() -> None:
    async def run() -> tuple[int, bytes]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            for piece in (b"HTTP/1.1 2", b"00 OK\r\ncontent-", b"length: 4\r\n", b"\r\nab", b"cd"):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            connection = await connect(*server.sockets[0].getsockname())
            reply = await connection.ask(post("/embed", b""))
            connection.close()
            return reply.status, reply.body

    assert asyncio.run(run()) == (200, b"abcd")


def test_schedules_have_the_rate_they_are_asked_for() -> None:
    assert fixed(4, 3) == [0.0, 0.25, 0.5]
    due_s = poisson(100, 20_000, seed=1)
    assert due_s == sorted(due_s) == poisson(100, 20_000, seed=1)
    assert due_s[-1] == pytest.approx(200, rel=0.05)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 1001)]

    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 0.999, 1.0)] == [1, 500, 990, 999, 1000]
    assert percentile([7.0], 0.5) == 7
    assert latency([]) is None


def test_a_right_answer_has_no_reason() -> None:
    assert judge(Question(b"", 2, 3), Reply(200, embedding(2, 3))) == ("answered", "")
