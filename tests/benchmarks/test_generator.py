"""The load generator as a process of its own."""

import asyncio
import socket

import pytest
from pydantic import ValidationError

from benchmarks.generator import Job, LoadError, Used, figures, run
from benchmarks.schema import LoadFigures
from benchmarks.tally import Tally
from tests.benchmarks.tiny_server import right, serving

TEXTS = [f"text number {number}" for number in range(50)]


def job(port: int, **changes: object) -> Job:
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": port,
        "model": "m",
        "dimensions": 2,
        "texts": TEXTS,
        "tokens": [len(text) for text in TEXTS],
        "mode": "closed",
        "clients": 4,
    }
    return Job.model_validate(values | changes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"mode": "poisson", "rate_per_s": 500.0}, {"mode": "fixed", "rate_per_s": 500.0}],
    ids=["closed", "poisson", "fixed"],
)
def test_a_load_in_another_process_brings_its_figures(changes: dict[str, object]) -> None:
    async def load() -> LoadFigures:
        async with serving(right) as (_, port):
            return await asyncio.to_thread(run, job(port, **changes))

    try:
        result = asyncio.run(load())
    except LoadError as error:  # a busy machine wakes the generator late; then it must say so and nothing else
        assert changes and "late at p99" in str(error)
        return

    assert (result.asked, result.answered, result.wrong, result.failed, result.unsent) == (50, 50, 0, 0, 0)
    assert result.latency is not None
    assert (result.late_p99_ms is None) == (result.mode == "closed")
    assert result.requests_per_s == pytest.approx(50 / result.seconds, rel=0.1)


def test_nobody_listening_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused

        with pytest.raises(LoadError) as failure:
            run(job(taken.getsockname()[1]))

    assert "\n" not in str(failure.value)
    assert "Connect call failed" in str(failure.value) or "refused" in str(failure.value)


def test_another_host_is_refused() -> None:
    with pytest.raises(LoadError, match=r"127\.0\.0\.1 only"):
        run(job(80, host="example.org"))


def test_a_generator_that_is_late_itself_refuses_its_figures() -> None:
    tally = Tally(asked=100, late_s=[0.0] * 98 + [0.011, 0.011])

    with pytest.raises(LoadError, match=r"11\.0 ms late at p99; the limit is 10 ms"):
        figures(job(1, mode="fixed", rate_per_s=5.0), tally, Used(1.0, 0.1))


@pytest.mark.parametrize(
    "changes",
    [{"texts": [], "tokens": []}, {"limit_s": 601.0}, {"rate_per_s": 5.0}, {"mode": "fixed"}],
    ids=["no texts", "too long", "a closed loop with a rate", "an open loop without"],
)
def test_a_load_without_bounds_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        job(1, **changes)
