"""Under load a request is refused by its head: nothing of it is parsed, tokenised or waited for."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from app.serving.catalog import Catalog
from app.settings import AdmissionSettings, Settings
from app.telemetry import metrics
from app.types import Cost
from tests.app.processes.front_end import HIGH_WATER_BYTES, FrontEnd, get, head, id_of, ids, narrow, post, run, serving
from tests.fakes import FakeEngine, Forever
from tests.stores import outputs_of

SETTINGS = Settings(admission=AdmissionSettings(max_wait_ms=1000))
SLOW = Cost(overhead_ms=1.0, ms_per_token=1000.0, lanes=1)
BODY = b'{"text": "a"}'
LENGTH = b"content-length: 13\r\n"


@asynccontextmanager
async def full_house(catalog: Catalog) -> AsyncIterator[FrontEnd]:
    """A front end whose engine is busy with one request for longer than the limit."""
    forever = Forever()
    async with serving(catalog, SETTINGS, FakeEngine(outputs_of(), behaviour=forever, cost=SLOW)) as front_end:
        (await front_end.call()).send(post(BODY))
        await forever.began.wait()
        yield front_end


def test_request_is_refused_before_its_body_has_come(catalog: Catalog) -> None:
    async def check() -> None:
        async with full_house(catalog) as front_end:
            caller = await front_end.call()
            caller.send(head(LENGTH, b"x-request-id: mine\r\n"))
            answer = await caller.answer()

            error = orjson.loads(answer.body)["error"]
            assert (answer.status, error["code"], error["retryable"]) == (429, "overloaded", True)
            assert error["message"].startswith("the predicted wait is ")
            assert answer.fields["retry-after-ms"] == str(error["retry_after_ms"])
            assert int(answer.fields["retry-after"]) * 1000 >= error["retry_after_ms"]
            assert answer.fields["x-request-id"] == error["request_id"] == "mine"
            assert answer.fields["traceparent"]

    run(check)


def test_connection_of_a_refused_request_stays_in_use(catalog: Catalog) -> None:
    """Its body, which arrives afterwards, is not taken for another request."""

    async def check() -> None:
        async with full_house(catalog) as front_end:
            caller = await front_end.call()
            caller.send(head(LENGTH, id_of(1)))
            first = await caller.answer()
            caller.send(BODY[:5])
            await front_end.phase("body")
            caller.send(BODY[5:] + get(b"/live", id_of(2)) + post(BODY, id_of(3), b"connection: close\r\n"))
            answers = [first, *await caller.rest()]

            assert [each.status for each in answers] == [429, 200, 429]
            assert ids(answers) == ["1", "2", "3"]
            assert "connection" not in first.fields

    run(check)


@pytest.mark.parametrize("rest", [b"x\r\n", b"ffff;" + b"a" * 20_000_000], ids=["bad chunks", "a body over the limit"])
def test_refused_request_gets_no_second_answer(catalog: Catalog, rest: bytes) -> None:
    """Its body cannot be read to its end: a second answer would be taken for the next request's."""

    async def check() -> None:
        async with full_house(catalog) as front_end:
            answers = await front_end.send(head(b"transfer-encoding: chunked\r\n") + rest)

            assert [each.status for each in answers] == [429]

    run(check)


def test_caller_that_waits_to_be_invited_is_refused_and_its_connection_closed(catalog: Catalog) -> None:
    """It may send its body or not: what followed could be read in two ways."""

    async def check() -> None:
        async with full_house(catalog) as front_end:
            (answer,) = await front_end.send(head(LENGTH, b"expect: 100-continue\r\n"))

            assert (answer.status, answer.fields["connection"]) == (429, "close")

    run(check)


@pytest.mark.parametrize(
    "refused",
    [post(BODY, b"expect: 100-continue\r\n"), post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0\r\nconnection: keep-alive")],
    ids=["expect", "HTTP/1.0"],
)
def test_nothing_is_answered_after_a_refusal_that_is_the_last(catalog: Catalog, refused: bytes) -> None:
    """Its body and another request come with its head."""

    async def check() -> None:
        async with full_house(catalog) as front_end:
            caller = await front_end.call()
            caller.send(refused + get(b"/live"))
            await front_end.phase("ended")

            assert [each.status for each in await caller.rest()] == [429]

    run(check)


def test_refusal_is_not_the_last_while_others_wait(catalog: Catalog) -> None:
    """After SIGTERM: what came behind it is answered, and ends the connection."""

    async def check() -> None:
        async with full_house(catalog) as front_end:
            caller = await front_end.call()
            caller.send(get(b"/live"))
            await caller.answer()
            for connection in front_end.connections:
                connection.is_draining = True
            caller.send(post(BODY, id_of(1)) + get(b"/live", id_of(2)) + post(BODY, id_of(3)))

            answers = await caller.rest()
            assert [(each.status, each.fields.get("connection")) for each in answers] == [
                (429, None),
                (200, None),
                (429, "close"),
            ]

    run(check)


def test_refusals_are_written_as_they_are_read(catalog: Catalog) -> None:
    count = 1000

    async def check() -> None:
        async with full_house(catalog) as front_end:
            caller, connection = await narrow(front_end)
            await asyncio.get_running_loop().sock_sendall(
                caller, b"".join(post(BODY, id_of(number)) for number in range(count))
            )
            unread = connection._transport.get_write_buffer_size
            await front_end.until(lambda: unread() > HIGH_WATER_BYTES)
            assert unread() <= HIGH_WATER_BYTES + 1024

            reader = await front_end.adopt(caller)
            answers = [await reader.answer() for _ in range(count)]
            assert {each.status for each in answers} == {429}
            assert ids(answers) == [str(number) for number in range(count)]

    run(check)


def test_refusals_wait_for_the_answers_before_them(catalog: Catalog) -> None:
    async def check() -> None:
        async with full_house(catalog) as front_end:
            last = post(BODY, id_of(4), b"connection: close\r\n")
            answers = await front_end.send(
                get(b"/live", id_of(1)) + post(BODY, id_of(2)) + get(b"/live", id_of(3)) + last
            )

            assert [each.status for each in answers] == [200, 429, 200, 429]
            assert ids(answers) == ["1", "2", "3", "4"]

    run(check)


def test_only_tasks_pass_the_gate(catalog: Catalog) -> None:
    async def check() -> None:
        async with full_house(catalog) as front_end:
            caller = await front_end.call()
            caller.send(get(b"/live") + get(b"/ready") + post(BODY, path=b"/nowhere") + get(b"/embed"))

            assert [(await caller.answer()).status for _ in range(4)] == [200, 200, 404, 405]

    run(check)


def test_refused_body_that_never_comes_does_not_hold_the_connection(catalog: Catalog) -> None:
    async def check() -> None:
        async with full_house(catalog) as front_end:
            caller = await front_end.call()
            caller.send(head(LENGTH))
            await caller.answer()
            front_end.pass_time(SETTINGS.http.body_timeout_s)

            assert await caller.is_closed()

    run(check)


def test_refusals_are_counted_one_by_one_and_logged_together(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    counters = [
        metrics.shed_total.labels("predicted_wait"),
        metrics.requests_total.labels("/embed", "unknown", "429"),
    ]
    before = [counter._value.get() for counter in counters]

    async def check() -> None:
        async with full_house(catalog) as front_end:
            callers = [await front_end.call() for _ in range(50)]
            for caller in callers:
                caller.send(post(BODY))
            await asyncio.gather(*(caller.answer() for caller in callers))
            caplog.clear()
            front_end.server.sweep()
            front_end.server.sweep()
            assert [record.getMessage() for record in caplog.records] == [
                "refused 50 requests: the predicted wait was over the limit"
            ]

    run(check)

    assert [counter._value.get() for counter in counters] == [value + 50 for value in before]
