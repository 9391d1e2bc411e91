"""The load generator as a process of its own."""

import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks.generator import Job, LoadError, Running, Used, figures, questions, run
from benchmarks.ledger import Ledger, Outcome
from tests.benchmarks.tiny_server import right, serving

TEXTS = [f"text number {number}" for number in range(50)]


def job(port: int, **changes: object) -> Job:
    values: dict[str, object] = {
        "port": port,
        "model": "m",
        "dimensions": 2,
        "texts": TEXTS,
        "tokens": [len(text) for text in TEXTS],
        "mode": "closed",
        "clients": 4,
        "late_max_ms": None,
    }
    return Job.model_validate(values | changes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"mode": "poisson", "rate_per_s": 500.0}, {"mode": "fixed", "rate_per_s": 500.0}],
    ids=["closed", "poisson", "fixed"],
)
def test_a_load_in_another_process_brings_its_figures(changes: dict[str, object]) -> None:
    with serving(right) as port:
        result = run(job(port, **changes))

    assert (result.asked, result.answered, result.not_right, result.unsent) == (50, 50, 0, 0)
    assert result.latency is not None
    assert (result.late_p99_ms is None) == (result.mode == "closed")
    assert result.requests_per_s == pytest.approx(50 / result.seconds, rel=0.1)


def test_answers_are_compared_with_the_right_vectors(tmp_path: Path) -> None:
    vectors = np.full((50, 1, 2), 0.5, np.float32)
    vectors[7] = [[0.5, -0.5]]  # what the server gives for every text is right for all but this one
    np.save(tmp_path / "vectors.npy", vectors)

    with serving(right) as port:
        result = run(job(port, vectors=tmp_path / "vectors.npy"))

    assert (result.answered, result.wrong) == (49, 1)
    assert result.errors == {"not the vector of this text": 1}


def test_only_every_so_many_th_answer_is_compared_if_told_so(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.zeros((7, 1, 2), np.float32))

    asked = questions(job(1, vectors=tmp_path / "vectors.npy", sample_every=8))

    assert [index for index, question in enumerate(asked) if question.vectors is not None] == [0, 8, 16, 24, 32, 40, 48]


def test_texts_are_grouped_into_requests() -> None:
    asked = questions(job(1, texts_a_request=4))

    assert len(asked) == 12  # two texts are left over
    assert asked[1].tokens == tuple(len(text) for text in TEXTS[4:8])
    assert b'["text number 4","text number 5","text number 6","text number 7"]' in asked[1].request


def test_a_load_that_is_stopped_reports_what_it_did() -> None:
    seen = threading.Event()

    async def answering(text: str) -> tuple[int, bytes]:
        seen.set()
        return await right(text)

    with serving(answering) as port:
        running = Running(job(port, mode="fixed", rate_per_s=1.0))  # fifty seconds, if nobody stopped it
        assert seen.wait(30)
        running.stop()
        result = running.result()

    assert 0 < result.answered < 50
    assert result.unsent == 50 - result.answered


def test_a_load_comes_from_the_address_of_its_job() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Running(job(listener.getsockname()[1], texts=TEXTS[:1], tokens=None, clients=1, source="127.0.0.2"))
        caller, (address, _) = listener.accept()
        caller.close()
        result = running.result()

    assert address == "127.0.0.2"
    assert (result.asked, result.reset) == (1, 1)


def test_the_ledger_of_a_load_is_kept(tmp_path: Path) -> None:
    with serving(right) as port:
        run(job(port, ledger=tmp_path / "ledger.npz"))

    ledger = Ledger.load(tmp_path / "ledger.npz")
    assert ledger.count(Outcome.RIGHT) == 50


def test_nobody_listening_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused

        with pytest.raises(LoadError, match="refused") as failure:
            run(job(taken.getsockname()[1]))

    assert "\n" not in str(failure.value)


def test_another_host_is_refused() -> None:
    with pytest.raises(LoadError, match=r"127\.0\.0\.1 only"):
        run(job(80, host="example.org"))


def test_a_generator_that_is_late_itself_refuses_its_figures() -> None:
    ledger = Ledger(50)
    ledger.late_s = [0.0] * 98 + [0.011, 0.011]
    late = job(1, mode="fixed", rate_per_s=5.0, late_max_ms=10.0)

    with pytest.raises(LoadError, match=r"11\.0 ms late at p99; the limit is 10 ms"):
        figures(late, ledger, Used(1.0, 0.1))
    assert figures(late.model_copy(update={"late_max_ms": None}), ledger, Used(1.0, 0.1)).late_p99_ms == 11.0


@pytest.mark.parametrize(
    "changes",
    [{"texts": [], "tokens": []}, {"limit_s": 601.0}, {"rate_per_s": 5.0}, {"mode": "fixed"}, {"tokens": [1]}],
    ids=["no texts", "too long", "a closed loop with a rate", "an open loop without", "a count for one text"],
)
def test_a_load_without_bounds_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        job(1, **changes)
