"""The load generator against a real socket: what it counts, and from when it measures."""

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence

import orjson
import pytest

from benchmarks.judge import Judge, Question
from benchmarks.ledger import Ledger, Outcome
from benchmarks.load import Bounds, Load, fixed, poisson
from benchmarks.wire import post
from tests.benchmarks.tiny_server import REFUSAL, Answering, embedding, right, serving

TEXTS = ["one", "three", "seventy-seven"] * 20
GENEROUS = Bounds(asking_s=60.0, answer_s=60.0)


class FakeClock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def questions(texts: Sequence[str]) -> list[Question]:
    return [Question(post("/embed", orjson.dumps({"text": text})), 1, (len(text),)) for text in texts]


def load_on(port: int, texts: Sequence[str], bounds: Bounds = GENEROUS) -> Load:
    return Load(("127.0.0.1", port), questions(texts), Judge(2, "native", "json"), bounds=bounds)


def closed(answering: Answering, texts: Sequence[str], *, clients: int = 4, bounds: Bounds = GENEROUS) -> Ledger:
    with serving(answering) as port:
        return load_on(port, texts, bounds).closed(clients)


def outcomes(ledger: Ledger) -> Counter[Outcome]:
    return Counter(map(Outcome, ledger.outcome))


def test_closed_loop_asks_every_question_once() -> None:
    seen: list[str] = []

    async def answering(text: str) -> tuple[int, bytes]:
        seen.append(text)
        return await right(text)

    ledger = closed(answering, TEXTS)

    assert sorted(seen) == sorted(TEXTS)
    assert outcomes(ledger) == {Outcome.RIGHT: 60}
    assert (ledger.sent_s >= ledger.due_s).all() and (ledger.done_s >= ledger.sent_s).all()


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

    closed(answering, TEXTS, clients=5)

    assert most == 5


def test_open_loop_latency_counts_from_when_a_request_was_due() -> None:
    clock = FakeClock()

    async def answering(text: str) -> tuple[int, bytes]:
        clock.now_s = 10.0  # all three are due by now, over the one connection that was held up
        return await right(text)

    with serving(answering) as port:
        address = ("127.0.0.1", port)
        load = Load(address, questions(["a", "b", "c"]), Judge(2, "native", "json"), bounds=GENEROUS, clock=clock)
        ledger = load.open([0.0, 1.0, 2.0], connections=1, most=1)

    assert outcomes(ledger) == {Outcome.RIGHT: 3}
    assert list(ledger.done_s - ledger.due_s) == [10.0, 9.0, 8.0]
    assert ledger.late_s == [0.0, 9.0, 8.0]  # no connection was free: the generator says so


def test_open_loop_asks_when_due_although_nothing_is_answered() -> None:
    stall, asked = asyncio.Event(), 0

    async def answering(text: str) -> tuple[int, bytes]:
        nonlocal asked
        asked += 1
        if asked == 8:
            stall.set()
        await stall.wait()
        return await right(text)

    with serving(answering) as port:  # one connection to begin with, and a new one for each that is not free
        ledger = load_on(port, TEXTS[:8]).open(fixed(1000, 8), connections=1, most=8)

    assert outcomes(ledger) == {Outcome.RIGHT: 8}


def test_every_kind_of_end_is_told_apart() -> None:
    bodies = {
        "right": (200, embedding(2, 5)),
        "two vectors": (200, embedding(2, 11, vectors=2)),
        "three values": (200, embedding(3, 12)),
        "another text": (200, embedding(2, 1)),
        "no json": (200, b"<html>"),
        "overload": (429, REFUSAL),
        "overload without a time": (429, b"{}"),
        "failed without a time": (503, b"{}"),
        "not found": (404, b"{}"),
        "too late": (504, b"{}"),
        "fault": (500, b"{}"),
        "cut off": (0, b""),
    }

    async def answering(text: str) -> tuple[int, bytes]:
        return bodies[text]

    ledger = closed(answering, list(bodies), clients=1)

    assert outcomes(ledger) == {
        Outcome.RIGHT: 1,
        Outcome.WRONG: 4,
        Outcome.SHED: 2,
        Outcome.FAILED: 2,
        Outcome.REFUSED: 1,
        Outcome.EXPIRED: 1,
        Outcome.RESET: 1,
    }
    assert ledger.shed_bare == 1
    assert ledger.reasons.total() == 11
    assert len(ledger.seconds(Outcome.RIGHT)) == 1


def test_what_is_never_answered_is_lost() -> None:
    async def answering(text: str) -> tuple[int, bytes]:
        await asyncio.Event().wait()
        return await right(text)

    ledger = closed(answering, TEXTS, clients=3, bounds=Bounds(asking_s=0.05, answer_s=0.05))

    assert outcomes(ledger) == {Outcome.LOST: 3, Outcome.UNSENT: 57}
    assert ledger.reasons == {"no answer": 3}


def test_a_stopped_load_waits_for_what_it_asked_and_asks_no_more() -> None:
    asked, go_on = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def answering(text: str) -> tuple[int, bytes]:
        loops.append(asyncio.get_running_loop())
        asked.set()
        await go_on.wait()
        return await right(text)

    with serving(answering) as port:
        load = load_on(port, TEXTS)

        def stop() -> None:
            asked.wait()
            load.stop()
            loops[0].call_soon_threadsafe(go_on.set)

        stopper = threading.Thread(target=stop)
        stopper.start()
        ledger = load.closed(1)
        stopper.join()

    assert outcomes(ledger) == {Outcome.RIGHT: 1, Outcome.UNSENT: 59}


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "example.org"])
def test_other_hosts_are_refused(host: str) -> None:
    load = Load((host, 80), questions(["a"]), Judge(2, "native", "json"), bounds=GENEROUS)

    with pytest.raises(ValueError, match=r"127\.0\.0\.1 only"):
        load.closed(1)


def test_schedules_have_the_rate_they_are_asked_for() -> None:
    assert fixed(4, 3) == [0.0, 0.25, 0.5]
    due_s = poisson(100, 20_000, seed=1)
    assert due_s == sorted(due_s) == poisson(100, 20_000, seed=1)
    assert due_s[-1] == pytest.approx(200, rel=0.05)
