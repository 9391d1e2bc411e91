"""SIGTERM: whatever had arrived is answered, then the front end ends.

Between a blocking send and `terminate` the event loop does not turn: what was sent waits in the kernel, unread or
unaccepted, when the signal comes.
"""

import asyncio
import contextlib
import resource
import signal
import socket

import pytest

from app.processes.server import accept_all
from app.serving.catalog import Catalog
from app.settings import Settings
from app.types import Answer, Work
from tests.app.processes.front_end import FrontEnd, get, head, id_of, ids, post, run, serving
from tests.fakes import FakeEngine, Forever
from tests.stores import outputs_of

BODY = b'{"text": "a"}'


def terminate(front_end: FrontEnd) -> None:
    front_end.server.handle_exit(signal.SIGTERM, None)


def connect(front_end: FrontEnd, data: bytes) -> socket.socket:
    """A connection with `data` on it, of which the front end knows nothing yet."""
    connection = socket.create_connection(front_end.address)
    connection.sendall(data)
    return connection


async def statuses(front_end: FrontEnd, connection: socket.socket) -> list[int]:
    """The answers that come on a blocking socket until it is closed."""
    caller = await front_end.adopt(connection)
    return [answer.status for answer in await caller.rest()]


def test_requests_that_nobody_has_accepted_yet_are_answered(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            connections = [connect(front_end, post(BODY)) for _ in range(50)]  # fewer than the listener queues
            terminate(front_end)

            assert [await statuses(front_end, each) for each in connections] == [[200]] * 50
            await front_end.serving

    run(check)


def test_everybody_in_the_backlog_is_accepted_at_once() -> None:
    """The event loop takes one a turn: on a busy machine, not all in the time that the end waits."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        callers = [socket.create_connection(listener.getsockname()) for _ in range(100)]

        accepted = accept_all(listener)

    assert [each.getpeername() for each in accepted] == [each.getsockname() for each in callers]
    for each in (*callers, *accepted):
        each.close()


def test_callers_that_there_are_descriptors_for_are_accepted() -> None:
    """The end goes on: those in the house are still answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as callers:
        for _ in range(3):
            callers.enter_context(socket.create_connection(listener.getsockname()))
        free = listener.dup()
        limit = free.fileno() + 1  # the lowest that is free, and none after it
        free.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            accepted = accept_all(listener)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert len(accepted) == 1
    accepted[0].close()


def test_requests_that_nobody_has_read_yet_are_answered(catalog: Catalog) -> None:
    """On kept-alive connections, several behind each other."""

    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            callers = [await front_end.call() for _ in range(20)]
            for caller in callers:
                caller.send(get(b"/live"))
                await caller.answer()
            for caller in callers:
                caller.send_now(post(BODY, id_of(1)) + get(b"/live", id_of(2)) + post(BODY, id_of(3)))
            terminate(front_end)

            for caller in callers:
                answers = await caller.rest()
                assert [(answer.status, answer.fields.get("connection")) for answer in answers] == [
                    (200, None),
                    (200, None),
                    (200, "close"),
                ]
                assert ids(answers) == ["1", "2", "3"]
            await front_end.serving

    run(check)


@pytest.mark.parametrize(("size", "phase"), [(20, "head"), (-5, "body")])
def test_request_that_has_begun_to_arrive_is_awaited(catalog: Catalog, size: int, phase: str) -> None:
    data = post(BODY)

    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            caller = await front_end.call()
            caller.send(data[:size])
            await front_end.phase(phase)
            terminate(front_end)
            await front_end.until(lambda: all(each.is_draining for each in front_end.connections))
            caller.send(data[size:])

            assert [answer.status for answer in await caller.rest()] == [200]
            await front_end.serving

    run(check)


def test_work_in_the_house_is_finished(catalog: Catalog) -> None:
    go_on = asyncio.Event()
    engine = FakeEngine(outputs_of())

    async def slow(work: Work) -> Answer:
        await go_on.wait()
        return await engine.compute(work)

    engine.behaviour = slow

    async def check() -> None:
        async with serving(catalog, Settings(), engine) as front_end:
            caller = await front_end.call()
            caller.send(post(BODY))
            await front_end.until(lambda: bool(engine.works))
            terminate(front_end)
            await front_end.until(lambda: all(each.is_draining for each in front_end.connections))
            go_on.set()

            (answer,) = await caller.rest()
            assert (answer.status, answer.fields["connection"]) == (200, "close")
            await front_end.serving

    run(check)


def test_not_ready_from_the_signal_on(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            terminate(front_end)
            (answer,) = await front_end.send(get(b"/ready"))

            assert (answer.status, answer.code) == (503, "not_ready")

    run(check)


def test_idle_connections_are_closed_and_new_ones_refused(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            fresh, used = await front_end.call(), await front_end.call()
            used.send(get(b"/live"))
            await used.answer()
            terminate(front_end)

            assert await fresh.is_closed()
            assert await used.is_closed()
            await front_end.serving
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(front_end.address)

    run(check)


def test_second_signal_ends_at_once(catalog: Catalog) -> None:
    forever = Forever()

    async def check() -> None:
        async with serving(catalog, Settings(), FakeEngine(outputs_of(), behaviour=forever)) as front_end:
            (await front_end.call()).send(post(BODY))
            await forever.began.wait()
            terminate(front_end)
            terminate(front_end)
            await front_end.serving

            assert forever.was_cancelled

    run(check)


def test_time_limits_hold_to_the_end(catalog: Catalog) -> None:
    """A caller that never finishes its request does not hold the front end up for longer than others."""

    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            caller = await front_end.call()
            caller.send(head(b"content-length: 13\r\n"))
            await front_end.phase("body")
            terminate(front_end)
            await front_end.until(lambda: all(each.is_draining for each in front_end.connections))
            front_end.pass_time(30)

            assert [answer.status for answer in await caller.rest()] == [408]
            await front_end.serving

    run(check)
