"""Who takes too long is ended, and nobody else. The clock is a fake one: nothing waits."""

import pytest

from app.processes.http.connection import LINGER_S
from app.serving.catalog import Catalog
from app.settings import HttpSettings, Settings
from tests.app.processes.front_end import get, head, id_of, ids, post, run, serving
from tests.fakes import FakeEngine, Forever
from tests.stores import outputs_of

TIMES = HttpSettings(head_timeout_s=10, body_timeout_s=30, keep_alive_s=65)
SETTINGS = Settings(http=TIMES)
BODY = b'{"text": "a"}'
LENGTH = b"content-length: 13\r\n"


@pytest.mark.parametrize(
    ("begun", "phase", "limit_s"),
    [(b"POST /em", "head", 10), (head(LENGTH)[:-1], "head", 10), (head(LENGTH) + BODY[:-1], "body", 30)],
    ids=["request line", "almost a head", "almost a body"],
)
def test_what_takes_too_long_to_arrive_is_408(catalog: Catalog, begun: bytes, phase: str, limit_s: int) -> None:
    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            caller = await front_end.call()
            caller.send(begun)
            await front_end.phase(phase)
            front_end.pass_time(limit_s - 0.1)
            assert [each._reader.phase for each in front_end.connections] == [phase]
            front_end.pass_time(0.1)

            (answer,) = await caller.rest()
            assert (answer.status, answer.code, answer.fields["connection"]) == (408, "request_timeout", "close")

    run(check)


def test_bytes_that_trickle_in_win_no_time(catalog: Catalog) -> None:
    data = b"GET /live HTTP/1.1\r\nhost: x\r\n" + b"x-a: 1\r\n"

    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            caller = await front_end.call()
            for number, byte in enumerate(data[:10]):
                caller.send(bytes([byte]))
                await front_end.seen(number + 1)
                front_end.pass_time(1)

            assert [each.status for each in await caller.rest()] == [408]

    run(check)


def test_time_for_a_body_begins_with_its_head(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            caller = await front_end.call()
            caller.send(b"POST")
            await front_end.phase("head")
            front_end.pass_time(9)
            caller.send(head(LENGTH)[4:])
            await front_end.phase("body")
            front_end.pass_time(29)
            caller.send(BODY)

            assert (await caller.answer()).status == 200

    run(check)


def test_idle_connection_is_closed_without_a_word(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            fresh, used = await front_end.call(), await front_end.call()
            used.send(get(b"/live"))
            await used.answer()
            front_end.pass_time(64)
            used.send(get(b"/live"))  # its time begins anew
            await used.answer()
            front_end.pass_time(1)
            assert await fresh.is_closed()
            front_end.pass_time(64)

            assert await used.is_closed()

    run(check)


@pytest.mark.parametrize(
    "more", [b"", get(b"/live") * 100 + head(LENGTH) + BODY[:3]], ids=["alone", "with more behind"]
)
def test_callers_who_wait_for_us_are_not_ended(catalog: Catalog, more: bytes) -> None:
    """The engine takes longer than any limit of the connection. What stands behind and is not read is no fault of
    theirs."""
    forever = Forever()

    async def check() -> None:
        async with serving(catalog, SETTINGS, FakeEngine(outputs_of(), behaviour=forever)) as front_end:
            caller = await front_end.call()
            caller.send(post(BODY) + more)
            await forever.began.wait()
            for _ in range(10):
                front_end.pass_time(100)

            assert [each._reader.phase for each in front_end.connections] == ["body" if more else "idle"]
            assert not forever.was_cancelled

    run(check)


def test_refusal_for_time_waits_for_the_answers_before_it(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            caller = await front_end.call()
            caller.send(post(BODY, id_of(1)) + head(LENGTH, id_of(2)))
            first = await caller.answer()
            await front_end.phase("body")
            front_end.pass_time(30)

            answers = [first, *await caller.rest()]
            assert [each.status for each in answers] == [200, 408]
            assert ids(answers) == ["1", "2"]

    run(check)


def test_refused_caller_that_sends_on_is_read_for_a_while_and_then_cut_off(catalog: Catalog) -> None:
    """Closing with bytes unread would reset the connection, and the caller might never see why."""

    async def check() -> None:
        async with serving(catalog, SETTINGS) as front_end:
            caller = await front_end.call()
            caller.send(head(b"content-length: 999999999\r\n") + b"a" * 1_000_000)
            assert (await caller.answer()).status == 413
            caller.send(b"a" * 100_000)
            front_end.pass_time(LINGER_S - 0.1)
            assert len(front_end.connections) == 1
            front_end.pass_time(0.1)
            await front_end.until(lambda: not front_end.connections)

    run(check)
