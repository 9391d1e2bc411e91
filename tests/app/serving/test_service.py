import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.encoding.tokenizer import TextEncoder, Truncate
from app.errors import DeadlineExceededError, NotReadyError
from app.serving.catalog import Catalog
from app.serving.service import INLINE_BYTES, Ask, Service
from app.settings import Settings
from app.telemetry.ids import Trace
from app.telemetry.logging import RequestRecord
from app.types import Encoding
from tests.fakes import FakeEngine, failing
from tests.stores import outputs_of, write_store


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    store: Path = tmp_path_factory.mktemp("models") / "store"
    return Catalog.open(store, write_store(store))


def record() -> RequestRecord:
    return RequestRecord("id", Trace("1" * 32, "1" * 16, "00"), "POST")


def now() -> float:
    """A clock that stands still."""
    return 100.0


def ask(catalog: Catalog, *texts: str, timeout_ms: int | None = None) -> Ask:
    return Ask(catalog.default("embedder"), texts, "end", timeout_ms)


@pytest.mark.parametrize(("asked_ms", "deadline_s"), [(None, 130.0), (500, 100.5)], ids=["default", "lowered"])
def test_deadline_of_the_work_is_the_requests(catalog: Catalog, asked_ms: int | None, deadline_s: float) -> None:
    engine = FakeEngine(outputs_of())

    asyncio.run(Service(engine, Settings(), clock=now).run(ask(catalog, "a", timeout_ms=asked_ms), record()))

    assert engine.works[0].deadline_s == deadline_s


@pytest.mark.parametrize(("size", "is_inline"), [(INLINE_BYTES, True), (INLINE_BYTES + 1, False)])
def test_long_texts_are_tokenised_off_the_loop(
    catalog: Catalog, size: int, is_inline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    encode = TextEncoder.encode

    def watched(self: TextEncoder, texts: Sequence[str], truncate: Truncate, *, first: int = 0) -> list[Encoding]:
        threads.append(threading.get_ident())
        return encode(self, texts, truncate)

    monkeypatch.setattr(TextEncoder, "encode", watched)

    asyncio.run(Service(FakeEngine(outputs_of()), Settings()).run(ask(catalog, "a" * size), record()))

    assert (threads == [threading.get_ident()]) is is_inline


def test_deadline_ends_the_wait_for_the_tokeniser(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes take it seconds; the caller who allowed less is answered all the same."""
    may_end = threading.Event()

    def stuck(self: TextEncoder, texts: Sequence[str], truncate: Truncate, *, first: int = 0) -> list[Encoding]:
        may_end.wait(20)
        return []

    async def run() -> None:
        try:
            await Service(FakeEngine(outputs_of()), Settings()).run(
                ask(catalog, "a" * (INLINE_BYTES + 1), timeout_ms=1), record()
            )
        finally:
            may_end.set()

    monkeypatch.setattr(TextEncoder, "encode", stuck)

    with pytest.raises(DeadlineExceededError):
        asyncio.run(run())


def test_draining_service_is_not_ready_and_still_answers(catalog: Catalog) -> None:
    service = Service(FakeEngine(outputs_of()), Settings())
    service.check_ready()

    service.drain()

    with pytest.raises(NotReadyError, match="shutting down"):
        service.check_ready()
    assert asyncio.run(service.run(ask(catalog, "a"), record())).tokens == 3


def test_readiness_tells_why_no_engine_starts() -> None:
    service = Service(FakeEngine(outputs_of(), is_ready=False, refusal="the graph is broken"), Settings())

    with pytest.raises(NotReadyError, match="the engine does not start: the graph is broken"):
        service.check_ready()


def test_tokens_leave_the_admission_however_a_request_ends(catalog: Catalog) -> None:
    """A request that ends badly must not take the place of others for ever."""
    service = Service(FakeEngine(outputs_of(), behaviour=failing(ZeroDivisionError())), Settings())

    with pytest.raises(ZeroDivisionError):
        asyncio.run(service.run(ask(catalog, "a"), record()))

    assert service._admission.wait_ms() == 0
