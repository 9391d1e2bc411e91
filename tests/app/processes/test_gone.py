"""A caller who goes away frees its place, wherever its request is."""

from collections.abc import Iterator

import pytest

from app.serving.catalog import Catalog
from app.settings import Settings
from app.telemetry import metrics
from app.telemetry.logging import RequestRecord, sinks
from tests.app.processes.front_end import get, head, post, run, serving
from tests.fakes import FakeEngine, Forever
from tests.stores import outputs_of

BODY = b'{"text": "a"}'


@pytest.fixture
def records() -> Iterator[list[RequestRecord]]:
    """The requests that ended, as they come."""
    found: list[RequestRecord] = []
    sinks.append(found.append)
    yield found
    sinks.remove(found.append)


@pytest.mark.parametrize("more", [b"", post(BODY) + get(b"/live")], ids=["alone", "with more behind it"])
def test_work_of_a_caller_who_leaves_is_cancelled(catalog: Catalog, records: list[RequestRecord], more: bytes) -> None:
    forever, before = Forever(), metrics.cancelled_total._value.get()

    async def check() -> None:
        engine = FakeEngine(outputs_of(), behaviour=forever)
        async with serving(catalog, Settings(), engine) as front_end:
            caller = await front_end.call()
            caller.send(post(BODY) + more)
            await forever.began.wait()
            await caller.close()
            await front_end.until(lambda: not front_end.server.server_state.tasks)

            assert forever.was_cancelled
            assert len(engine.works) == 1

    run(check)

    assert metrics.cancelled_total._value.get() == before + 1
    assert [record.status for record in records] == [499]


def test_caller_who_leaves_within_its_body_is_noted(catalog: Catalog, records: list[RequestRecord]) -> None:
    before = metrics.cancelled_total._value.get()

    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            caller = await front_end.call()
            caller.send(head(b"content-length: 13\r\n") + BODY[:3])
            await front_end.phase("body")
            await caller.close()
            await front_end.until(lambda: not front_end.connections)

    run(check)

    assert metrics.cancelled_total._value.get() == before + 1
    assert [(record.method, record.route, record.status) for record in records] == [("POST", "/embed", 499)]
