"""What every request leaves behind: ids on its answer, one log line, counts – and no trace of its text."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import Counter
from starlette.types import Message

from app.api.deps import ON_GONE
from app.main import create_app
from app.serving.catalog import Catalog
from app.telemetry import metrics
from app.telemetry.logging import RequestRecord, sinks
from tests.app.api.conftest import SETTINGS, MakeClient
from tests.fakes import Client, FakeEngine, Forever
from tests.stores import outputs_of

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def records() -> Iterator[list[RequestRecord]]:
    """The requests that ended, as they come."""
    found: list[RequestRecord] = []
    sinks.append(found.append)
    yield found
    sinks.remove(found.append)


@pytest.mark.parametrize("path", ["/live", "/nowhere", "/embed"])
def test_ids_of_the_caller_stand_on_every_answer(client: Client, path: str) -> None:
    sent = {"x-request-id": "mine-1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}

    response = client.get(path, headers=sent)

    version, trace, span, flags = response.headers["traceparent"].split("-")
    assert response.headers["x-request-id"] == "mine-1"
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert span != "b7ad6b7169203331"


def test_malformed_request_id_is_replaced(client: Client) -> None:
    made = client.get("/live", headers={"x-request-id": "a b"}).headers["x-request-id"]

    assert len(made) == 32


def test_log_line_has_numbers_and_no_text(
    client: Client, records: list[RequestRecord], caplog: pytest.LogCaptureFixture
) -> None:
    client.post("/embed", {"texts": ["xyzzy", "plugh"]}, headers={"x-request-id": "mine-2"})

    (record,) = records
    assert (record.method, record.route, record.status, record.request_id) == ("POST", "/embed", 200, "mine-2")
    assert (record.model, record.version, record.texts, record.tokens) == ("embedder", 1, 2, 14)
    assert "xyzzy" not in caplog.text + repr(record)


def test_refused_request_is_logged_with_its_code(client: Client, records: list[RequestRecord]) -> None:
    client.post("/embed", {"text": "xyzzy" * 9})

    (record,) = records
    assert (record.status, record.error, record.model) == (422, "text_too_long", "embedder")


def test_made_up_paths_and_models_add_no_series(client: Client) -> None:
    def ask(name: str) -> None:
        client.get(f"/{name}")
        client.get(f"/models/{name}")
        client.request(name.upper(), "/embed")
        client.post("/embed", {"text": "a", "model": name})
        client.post("/embed", {"text": "a", "head": name})

    ask("first")
    before = series()
    for number in range(20):
        ask(f"made-up-{number}")

    assert series() == before


def test_answers_and_texts_are_counted(client: Client) -> None:
    requests = metrics.requests_total.labels("/classify", "topics", "200")
    texts, cut = metrics.texts_total.labels("topics"), metrics.truncated_total.labels("topics")
    before = [value(counter) for counter in (requests, texts, cut)]

    client.post("/classify", {"texts": ["a", "b" * 50], "model": "topics", "truncate": "end"})

    assert [value(counter) for counter in (requests, texts, cut)] == [before[0] + 1, before[1] + 2, before[2] + 1]


def test_caller_who_leaves_cancels_the_work(catalog: Catalog, records: list[RequestRecord]) -> None:
    forever = Forever()
    app = create_app(SETTINGS, FakeEngine(outputs_of(), behaviour=forever), catalog)
    before = value(metrics.cancelled_total)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b'{"text": "a"}', "more_body": False}

    async def leave() -> None:
        scope, registered = scope_of("/embed"), list[Callable[[], None] | None]()
        scope[ON_GONE] = registered.append
        task = asyncio.create_task(app(scope, receive, send))
        await forever.began.wait()
        assert registered[0] is not None
        registered[0]()
        await task
        assert registered[1:] == [None]

    asyncio.run(leave())

    assert forever.was_cancelled
    assert sent == []
    assert (records[0].status, value(metrics.cancelled_total)) == (499, before + 1)


def test_caller_who_leaves_within_the_body_is_no_fault(catalog: Catalog, records: list[RequestRecord]) -> None:
    app = create_app(SETTINGS, FakeEngine(outputs_of()), catalog)
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        raise AssertionError("nobody is there to be answered")

    asyncio.run(app(scope_of("/embed"), receive, send))

    assert records[0].status == 499


def test_cancelling_the_server_is_not_a_caller_who_left(make_client: MakeClient, catalog: Catalog) -> None:
    forever = Forever()
    client = make_client(FakeEngine(outputs_of(), behaviour=forever))

    async def shut_down() -> None:
        task = asyncio.create_task(client.send("POST", "/embed", json={"text": "a"}))
        await forever.began.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(shut_down())
    assert forever.was_cancelled


def series() -> set[str]:
    """The names and labels of all series."""
    lines = metrics.render()[0].decode().splitlines()
    return {line.rsplit(" ", 1)[0] for line in lines if line.startswith("encodery_")}


def value(counter: Counter) -> float:
    """What a counter stands at."""
    samples = next(iter(counter.collect())).samples
    return float(next(sample.value for sample in samples if sample.name.endswith("_total")))


def scope_of(path: str) -> dict[str, object]:
    """An ASGI scope of a JSON request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
