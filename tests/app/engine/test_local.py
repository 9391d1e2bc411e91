import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from app.engine.core import FRESH_S, PROBE_S, Core, run
from app.engine.cuda_errors import DeviceLostError
from app.engine.jobs import Row
from app.engine.local import LocalEngine
from app.errors import DeadlineExceededError, EngineFailedError, ModelNotFoundError
from app.types import Answer, Item, ModelKey, Rows, Work
from tests.app.engine.fakes import KEY, EchoRunner, GatedRunner, PoisonedRunner, ids, loaded


def with_engine(runner: EchoRunner, test: Callable[[LocalEngine], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = LocalEngine([loaded(runner)], lanes=1)
        engine.start()
        try:
            await test(engine)
        finally:
            await engine.close()

    asyncio.run(run())


def work(*rows: int, timeout_s: float = 30.0) -> Work:
    """One request; row i is `rows[i]` times the token i + 1."""
    return Work(KEY, [ids(*[index + 1] * length) for index, length in enumerate(rows)], time.monotonic() + timeout_s)


def expected(request: Work) -> list[list[float]]:
    return [[float(row.sum()), float(len(row))] for row in request.rows]


def rows_of(answer: Answer) -> list[list[float]]:
    return answer.outputs["out"].tolist()  # type: ignore[no-any-return]  # numpy types tolist as Any


def test_every_row_gets_its_own_answer_in_the_order_of_the_request() -> None:
    async def check(engine: LocalEngine) -> None:
        request = work(5, 200, 1, 7, 200, 3)

        assert rows_of(await engine.submit(request)) == expected(request)

    with_engine(EchoRunner(), check)


def test_requests_that_arrive_during_a_run_share_the_next_batch() -> None:
    runner = GatedRunner()

    async def check(engine: LocalEngine) -> None:
        first = asyncio.create_task(engine.submit(work(4)))
        await asyncio.to_thread(runner.entered.acquire)
        others = [asyncio.create_task(engine.submit(work(length))) for length in (5, 6, 7)]
        await asyncio.sleep(0)
        runner.gate.set()
        await asyncio.gather(first, *others)

        assert runner.batches == [[4], [5, 6, 7]]

    with_engine(runner, check)


def test_only_the_request_with_the_poisoned_text_fails_and_its_index_is_told() -> None:
    runner = PoisonedRunner()

    async def check(engine: LocalEngine) -> None:
        good = [work(length, length) for length in (3, 4, 5, 6)]
        bad = Work(KEY, [ids(1, 1), ids(1, -1), ids(2, 2)], time.monotonic() + 30)
        results = await asyncio.gather(*map(engine.submit, good), engine.submit(bad), return_exceptions=True)

        assert [rows_of(answer) for answer in results[:4] if isinstance(answer, Answer)] == list(map(expected, good))
        failure = results[4]
        assert isinstance(failure, EngineFailedError)
        assert failure.index == 1
        assert len(runner.batches) <= 2 * 4 + 3  # about two runs for each halving of the 11 rows

    with_engine(runner, check)


def test_a_request_whose_deadline_passes_in_the_queue_never_runs() -> None:
    runner = GatedRunner()

    async def check(engine: LocalEngine) -> None:
        first = asyncio.create_task(engine.submit(work(4)))
        await asyncio.to_thread(runner.entered.acquire)
        with pytest.raises(DeadlineExceededError):
            await engine.submit(work(9, timeout_s=0.05))
        runner.gate.set()
        await first

        assert runner.batches == [[4]]

    with_engine(runner, check)


def test_a_cancelled_request_leaves_the_queue() -> None:
    runner = GatedRunner()

    async def check(engine: LocalEngine) -> None:
        first = asyncio.create_task(engine.submit(work(4)))
        await asyncio.to_thread(runner.entered.acquire)
        second = asyncio.create_task(engine.submit(work(9, 9)))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        runner.gate.set()
        await first

        assert runner.batches == [[4]]

    with_engine(runner, check)


def test_a_model_the_engine_does_not_hold_is_named() -> None:
    async def check(engine: LocalEngine) -> None:
        with pytest.raises(ModelNotFoundError, match="other@7"):
            await engine.submit(Work(ModelKey("other", 7), [ids(1)], time.monotonic() + 1))

    with_engine(EchoRunner(), check)


def test_readiness_ends_when_no_forward_pass_is_fresh() -> None:
    now = [100.0]

    async def check() -> None:
        engine = LocalEngine([loaded(EchoRunner())], lanes=1, clock=lambda: now[0])
        engine.start()
        assert engine.status().is_ready
        now[0] += FRESH_S + 1
        assert not engine.status().is_ready
        await engine.submit(Work(KEY, [ids(1)], now[0] + 1))
        assert engine.status().is_ready
        await engine.close()

    asyncio.run(check())


def test_a_probe_is_run_though_its_output_is_kept() -> None:
    now, runner, ended = [100.0], EchoRunner(), threading.Semaphore(0)
    core = Core([loaded(runner)], lanes=1, deliver=lambda _: ended.release(), cache_bytes=10_000, clock=lambda: now[0])
    core.start()
    for _ in range(2):
        now[0] += PROBE_S + 1
        core.tick()
        assert ended.acquire(timeout=10)
    core.close()

    assert len(runner.batches) == 2


def test_a_lost_device_is_nobodys_fault_and_ends_the_thread() -> None:
    """Halving the batch would fail every row of it; the engine process ends instead and is replaced."""

    class LosingRunner(EchoRunner):
        def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
            self.batches.append([len(row) for row in rows])
            raise DeviceLostError("CUDA failure 700")

    runner = LosingRunner()
    rows = [Row((KEY, row.tobytes()), row, work(1)) for row in (ids(1), ids(2))]

    with pytest.raises(DeviceLostError):
        run(runner, rows, time.monotonic)

    assert runner.batches == [[1, 1]]
