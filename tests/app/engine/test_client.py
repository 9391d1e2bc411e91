"""The two ends of the wire together, over a real Unix socket."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.engine.client import RemoteEngine
from app.engine.local import LocalEngine
from app.engine.server import EngineServer, listen
from app.errors import EngineFailedError
from app.types import Work
from tests.app.engine.fakes import KEY, EchoRunner, GatedRunner, PoisonedRunner, ids, loaded


class Host:
    """An engine behind a socket that can die like a killed process: connections break, nothing is answered."""

    def __init__(self, path: Path, runner: EchoRunner) -> None:
        self.path, self.runner = path, runner

    async def start(self) -> None:
        self.engine = LocalEngine([loaded(self.runner)], lanes=1)
        self.server = EngineServer(self.engine)
        await self.server.start(listen(self.path))

    async def die(self) -> None:
        assert self.server._server is not None
        self.server._server.close()
        self.path.unlink(missing_ok=True)
        for connection in list(self.server._connections):
            assert connection._transport is not None
            connection._transport.abort()
        await asyncio.sleep(0)

    async def close(self) -> None:
        await self.server.close()
        await self.engine.close()


@asynccontextmanager
async def remote(path: Path) -> AsyncIterator[RemoteEngine]:
    engine = RemoteEngine(path)
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

            assert engine.status() == host.engine.status()
            assert (await engine.submit(work(1, 2, 3))).outputs["out"].tolist() == [[6.0, 3.0]]
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
        await first.engine.close()
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
            await host.engine.close()

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
            await until(lambda: len(host.engine._queues[KEY]) == 2)
            second.cancel()
            await until(lambda: len(host.engine._queues[KEY]) == 1)
            runner.gate.set()
            await asyncio.gather(first, third)

        assert runner.batches == [[1], [1]]
        await host.close()

    run_with_socket(check)
