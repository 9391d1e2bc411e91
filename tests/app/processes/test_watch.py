"""The supervisor looks at engines over real sockets, at front ends over a real board. That a stopped one is replaced:
tests/e2e/test_processes.py.
"""

import asyncio
import tempfile
import time
from pathlib import Path

import pytest

from app.engine.core import Core
from app.engine.jobs import Job
from app.engine.server import EngineServer, listen
from app.processes import watch
from app.processes.watch import Watch
from app.serving.board import SharedBoard
from app.types import Work
from tests.app.engine.fakes import KEY, GatedRunner, ids, loaded


class Seen:
    """Keeps `Watched`: a child that serves, and why it was ended."""

    def __init__(self) -> None:
        self.ready_s: float | None = time.monotonic()
        self.reason: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def end_hanging(self, reason: str) -> None:
        if not self.reason.done():
            self.reason.set_result(reason)


def watch_engine(engine: Seen, path: Path) -> Watch:
    return Watch([engine], [path], [], path.parent / "board")


async def reason_for(runner: GatedRunner, *, is_busy: bool, beats: bool = True) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.sock"
        server = EngineServer(listen(path))
        core = Core([loaded(runner)], lanes=1, deliver=server.deliver)
        core.start()
        server.start(core)
        seen = Seen()
        watching = asyncio.create_task(watch_engine(seen, path).run())
        if is_busy:
            core.submit([Job(Work(KEY, [ids(1)], time.monotonic() + 60), time.monotonic())])
            await asyncio.to_thread(runner.entered.acquire)
        async with asyncio.timeout(20):
            while not seen.reason.done():
                if beats:
                    server.beat()
                await asyncio.sleep(0.01)  # a heart beats; it does not fill the socket
        watching.cancel()
        runner.gate.set()
        await asyncio.to_thread(server.close, 1.0)
        await asyncio.to_thread(core.close)
        return seen.reason.result()


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.001)


def test_an_engine_whose_batch_runs_for_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STUCK_S", 1.0)  # longer than it takes to connect

    assert asyncio.run(reason_for(GatedRunner(), is_busy=True)).startswith("a batch has run for")


def test_an_engine_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENT_S", 0.05)

    assert asyncio.run(reason_for(GatedRunner(), is_busy=False, beats=False)).startswith("silent for")


def test_what_was_before_the_watch_is_not_held_against_an_engine() -> None:
    """It has served for a minute, and its first word is still to come."""

    async def check() -> bool:
        with tempfile.TemporaryDirectory() as folder:
            seen = Seen()
            seen.ready_s = time.monotonic() - 60
            watching = asyncio.create_task(watch_engine(seen, Path(folder) / "engine.sock").run())
            await asyncio.sleep(0.1)
            watching.cancel()
            return seen.reason.done()

    assert not asyncio.run(check())


def test_what_nobody_watched_is_not_held_against_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervisor and engine are frozen together; whoever thaws first must not take the other for dead."""
    monkeypatch.setattr(watch, "SILENT_S", 0.4)
    monkeypatch.setattr(watch, "LATE_S", 0.2)

    async def check() -> bool:
        with tempfile.TemporaryDirectory() as folder:
            seen = Seen()
            watching = asyncio.create_task(watch_engine(seen, Path(folder) / "engine.sock").run())
            await asyncio.sleep(0.01)
            time.sleep(0.6)  # noqa: ASYNC251  # the whole loop stands still
            await asyncio.sleep(0.02)
            watching.cancel()
            return seen.reason.done()

    assert not asyncio.run(check())


async def front_end_reason(path: Path, *, beat_ago_s: float | None, frozen_s: float = 0.0) -> str | None:
    """Why the second of two front ends was ended, within 20 s if it is to be, else within a moment."""
    first, second = Seen(), Seen()
    first.ready_s = second.ready_s = time.monotonic() - 60
    here, other = SharedBoard(path, 0), SharedBoard(path, 1)
    if beat_ago_s is not None:
        other.beat(time.monotonic() - beat_ago_s)
    watching = asyncio.create_task(Watch([], [], [first, second], path).run())
    for _ in range(2000 if beat_ago_s else 50):
        here.beat(time.monotonic())
        await asyncio.sleep(0.01)
        if second.reason.done():
            break
    if frozen_s:
        time.sleep(frozen_s)  # noqa: ASYNC251  # the whole loop stands still
        await asyncio.sleep(0.02)
    watching.cancel()
    assert not first.reason.done()
    return second.reason.result() if second.reason.done() else None


def test_a_front_end_that_says_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FRONT_END_SILENT_S", 0.3)
    monkeypatch.setattr(watch, "LATE_S", 0.1)  # a busy machine may hold up the front end that beats

    reason = asyncio.run(front_end_reason(tmp_path / "board", beat_ago_s=50))

    assert reason is not None
    assert reason.startswith("silent for 0.")  # what was before the watch is not held against it


def test_a_front_end_without_a_beat_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have found no room for its board."""
    monkeypatch.setattr(watch, "FRONT_END_SILENT_S", 0.3)
    monkeypatch.setattr(watch, "LATE_S", 0.1)

    assert asyncio.run(front_end_reason(tmp_path / "board", beat_ago_s=None)) is None


def test_what_nobody_watched_is_not_held_against_a_front_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FRONT_END_SILENT_S", 1.0)
    monkeypatch.setattr(watch, "LATE_S", 0.2)

    assert asyncio.run(front_end_reason(tmp_path / "board", beat_ago_s=0, frozen_s=1.2)) is None


def test_without_a_board_no_front_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is gone, or no front end has come so far."""
    monkeypatch.setattr(watch, "FRONT_END_SILENT_S", 0.01)

    async def check() -> bool:
        seen = Seen()
        watching = asyncio.create_task(Watch([], [], [seen], tmp_path / "gone" / "board").run())
        await asyncio.sleep(0.05)
        watching.cancel()
        return seen.reason.done()

    assert not asyncio.run(check())
