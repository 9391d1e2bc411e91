"""The two ends of the wire together, over a real Unix socket."""

import asyncio
import select
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from app.engine import frames, server
from app.engine.client import RemoteEngine
from app.engine.core import Core
from app.engine.server import EngineServer, listen
from app.errors import EngineFailedError, NotReadyError
from app.types import Item, Rows, Work
from tests.app.engine.fakes import KEY, EchoRunner, GatedRunner, PoisonedRunner, ids, loaded


class Host:
    """An engine behind a socket that can die like a killed process: connections break, nothing is answered."""

    def __init__(self, path: Path, runner: EchoRunner) -> None:
        self.path, self.runner = path, runner

    async def start(self) -> None:
        self.server = EngineServer(listen(self.path))
        self.core = Core([loaded(self.runner)], lanes=1, deliver=self.server.deliver)
        self.core.start()
        self.server.start(self.core)

    async def die(self) -> None:
        self.path.unlink(missing_ok=True)
        await asyncio.to_thread(self.server.close, 0.0)

    async def close(self) -> None:
        await asyncio.to_thread(self.server.close, 5.0)
        await asyncio.to_thread(self.core.close)


@asynccontextmanager
async def remote(*paths: Path) -> AsyncIterator[RemoteEngine]:
    engine = RemoteEngine(paths)
    engine.start()
    yield engine
    await engine.close()


def run_with_socket(test: Callable[[Path], Coroutine[None, None, None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is too long for a Unix socket on some systems
        asyncio.run(test(Path(folder) / "engine.sock"))


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until `holds`."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # the state of the other end has no event of its own
            await asyncio.sleep(0)


def work(*values: int, timeout_s: float = 20.0) -> Work:
    return Work(KEY, [ids(*values)], time.monotonic() + timeout_s)


def test_answers_and_status_cross_the_socket() -> None:
    async def check(path: Path) -> None:
        host = Host(path, EchoRunner())
        await host.start()
        async with remote(path) as engine:
            await engine.connected()

            status = engine.status()
            assert (status.is_ready, status.models) == (True, host.core.status().models)
            assert (await engine.submit(work(1, 2, 3))).outputs["out"].tolist() == [[6.0, 3.0]]
        await host.close()

    run_with_socket(check)


def test_an_engine_that_does_not_come_up_takes_no_other_away() -> None:
    async def check(path: Path) -> None:
        host = Host(path.with_name("a"), EchoRunner())
        await host.start()
        async with remote(host.path, path.with_name("never")) as engine:
            async with asyncio.timeout(10):
                await engine.connected()

            assert (await engine.submit(work(4, 5))).outputs["out"].tolist() == [[9.0, 2.0]]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await engine.all_connected()
        await host.close()

    run_with_socket(check)


def test_requests_sent_before_an_engine_is_there_wait_for_it() -> None:
    async def check(path: Path) -> None:
        async with remote(path) as engine:
            early = asyncio.create_task(engine.submit(work(4, 5)))
            assert not engine.status().is_ready
            host = Host(path, EchoRunner())
            await host.start()

            assert (await early).outputs["out"].tolist() == [[9.0, 2.0]]
        await host.close()

    run_with_socket(check)


def test_requests_without_an_engine_end_with_the_reason_why_none_starts() -> None:
    async def check(path: Path) -> None:
        async with remote(path) as engine:
            early = asyncio.create_task(engine.submit(work(4, 5)))
            await asyncio.sleep(0)
            engine.refused("the graph is broken")

            for request in (early, engine.submit(work(6))):
                with pytest.raises(NotReadyError, match="the engine does not start: the graph is broken"):
                    await request
            assert engine.status().refusal == "the graph is broken"

            host = Host(path, EchoRunner())
            await host.start()
            await engine.connected()

            assert engine.status().refusal is None
            assert (await engine.submit(work(4, 5))).outputs["out"].tolist() == [[9.0, 2.0]]
        await host.close()

    run_with_socket(check)


def test_what_a_dead_engine_held_is_answered_by_the_next() -> None:
    async def check(path: Path) -> None:
        stuck = GatedRunner()
        first = Host(path, stuck)
        await first.start()
        async with remote(path) as engine:
            await engine.connected()
            requests = [asyncio.create_task(engine.submit(work(n, n))) for n in range(10)]
            await asyncio.to_thread(stuck.entered.acquire)
            await first.die()
            second = Host(path, EchoRunner())
            await second.start()

            answers = await asyncio.gather(*requests)
        assert [answer.outputs["out"].tolist() for answer in answers] == [[[2.0 * n, 2.0]] for n in range(10)]
        stuck.gate.set()
        await first.close()
        await second.close()

    run_with_socket(check)


def test_a_request_that_two_engines_died_on_fails() -> None:
    async def check(path: Path) -> None:
        hosts = [Host(path, GatedRunner()), Host(path, GatedRunner())]
        async with remote(path) as engine:
            request = asyncio.create_task(engine.submit(work(1)))
            for host in hosts:
                await host.start()
                assert isinstance(host.runner, GatedRunner)
                await asyncio.to_thread(host.runner.entered.acquire)
                await host.die()

            with pytest.raises(EngineFailedError, match="twice"):
                await request
        for host in hosts:
            assert isinstance(host.runner, GatedRunner)
            host.runner.gate.set()
            await host.close()

    run_with_socket(check)


def test_errors_cross_with_their_index() -> None:
    async def check(path: Path) -> None:
        host = Host(path, PoisonedRunner())
        await host.start()
        async with remote(path) as engine:
            with pytest.raises(EngineFailedError) as caught:
                await engine.submit(Work(KEY, [ids(1), ids(-1)], time.monotonic() + 20))

        assert caught.value.index == 1
        await host.close()

    run_with_socket(check)


def test_cancelling_reaches_the_engine() -> None:
    async def check(path: Path) -> None:
        runner = GatedRunner()
        host = Host(path, runner)
        await host.start()
        async with remote(path) as engine:
            first = asyncio.create_task(engine.submit(work(1)))
            await asyncio.to_thread(runner.entered.acquire)
            second = asyncio.create_task(engine.submit(work(2)))
            third = asyncio.create_task(engine.submit(work(3)))
            await until(lambda: host.core.waiting() == 2)
            second.cancel()
            await until(lambda: host.core.waiting() == 1)
            runner.gate.set()
            await asyncio.gather(first, third)

        assert runner.batches == [[1], [1]]
        await host.close()

    run_with_socket(check)


def test_work_goes_to_the_engine_with_the_least_before_it() -> None:
    async def check(path: Path) -> None:
        hosts = [Host(path.with_name(name), EchoRunner()) for name in ("a", "b")]
        for host in hosts:
            await host.start()
        async with remote(*(host.path for host in hosts)) as engine:
            await engine.all_connected()
            await asyncio.gather(*(engine.submit(work(*range(n, n + 8))) for n in range(6)))

            assert engine.status().models[0].cost.lanes == 2
        assert [sum(map(len, host.runner.batches)) for host in hosts] == [3, 3]
        for host in hosts:
            await host.close()

    run_with_socket(check)


def test_what_a_dead_engine_held_goes_to_another_at_once() -> None:
    async def check(path: Path) -> None:
        stuck, other = Host(path.with_name("a"), GatedRunner()), Host(path.with_name("b"), EchoRunner())
        await stuck.start()
        await other.start()
        async with remote(stuck.path, other.path) as engine:
            await engine.all_connected()
            requests = [asyncio.create_task(engine.submit(work(n, n))) for n in range(6)]
            assert isinstance(stuck.runner, GatedRunner)
            await asyncio.to_thread(stuck.runner.entered.acquire)
            await stuck.die()

            answers = await asyncio.gather(*requests)
        assert [answer.outputs["out"].tolist() for answer in answers] == [[[2.0 * n, 2.0]] for n in range(6)]
        stuck.runner.gate.set()
        await stuck.close()
        await other.close()

    run_with_socket(check)


def test_only_the_outputs_that_are_asked_for_cross() -> None:
    class TwoOutputs(EchoRunner):
        def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
            return {**super().run(rows), "other": np.ones((len(rows), 7), np.float32)}

    async def check(path: Path) -> None:
        host = Host(path, TwoOutputs())
        await host.start()
        async with remote(path) as engine:
            asked = Work(KEY, [ids(1, 2)], time.monotonic() + 20, outputs=["other"])
            both = Work(KEY, [ids(1, 2)], time.monotonic() + 20)

            assert list((await engine.submit(asked)).outputs) == ["other"]
            assert list((await engine.submit(both)).outputs) == ["out", "other"]
        await host.close()

    run_with_socket(check)


class Wide(EchoRunner):
    """A row of its answers is a MiB."""

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        return {"out": np.ones((len(rows), 2**18), np.float32)}


def test_an_answer_larger_than_the_backlog_may_be_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so does what is sent while it is under way."""
    monkeypatch.setattr(server, "BACKLOG_BYTES_MAX", 2**18)

    async def check(path: Path) -> None:
        host = Host(path, Wide())
        await host.start()
        async with remote(path) as engine:
            requests = [asyncio.create_task(engine.submit(work(number))) for number in range(5)]
            while not all(request.done() for request in requests):
                host.server.beat()
                await asyncio.sleep(0)
            answers = [await request for request in requests]

        assert all(answer.outputs["out"].shape == (1, 2**18) for answer in answers)
        await host.close()

    run_with_socket(check)


def test_a_front_end_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BACKLOG_BYTES_MAX", 2**16)
    monkeypatch.setattr(server, "STALLED_S", 0.01)
    deaf, engine_end = socket.socketpair(socket.AF_UNIX)
    peer = server.Peer(engine_end)

    with deaf, engine_end:
        for _ in range(1000):
            peer.send(bytes(2**16))
            if select.select([engine_end], [], [], 0.005)[0]:
                break

        assert peer.receive() == b""
        assert peer.is_idle


def test_a_front_end_that_does_not_read_holds_up_nobody() -> None:
    """Its answers wait in the engine; another front end is served meanwhile."""

    async def check(path: Path) -> None:
        host = Host(path, Wide())
        await host.start()
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(path))
            for number in range(8):
                asked = Work(KEY, [ids(number)], time.monotonic() + 20)
                deaf.sendall(frames.pack_work(number, asked, [KEY]))
            async with remote(path) as engine:
                answers = [await engine.submit(work(number)) for number in range(3)]

        assert all(answer.outputs["out"].shape == (1, 2**18) for answer in answers)
        await host.close()

    run_with_socket(check)
