"""Benchmarks and checks of faults over the real service, as small as they come."""

import orjson
import pytest

from benchmarks import bench, full
from benchmarks.chaos import fair, overload, poison, terms
from benchmarks.chaos.common import opened, pool_of, serving
from benchmarks.chaos.overload import FIXED, TINY, fixed_model
from benchmarks.generator import run
from benchmarks.judge import Judge, Question, ask
from benchmarks.ledger import Outcome
from benchmarks.models import alone
from benchmarks.phases import scratch
from benchmarks.server import get
from benchmarks.wire import HOST, Connection

pytestmark = pytest.mark.slow


def quiet(_: str) -> None:
    """Nobody waits for these."""


def test_a_service_under_measurement_holds_the_one_model_and_the_pinned_plan() -> None:
    with serving(TINY) as service:
        listed = orjson.loads(get(service.port, "/models")[1])["data"]
        engines = service.engines()
        memory = service.memory_bytes()
        used = service.snapshot().cpu_s

        assert [model["id"] for model in listed] == [TINY.model]
        assert service.plan(TINY.model) == "onnxruntime-fp32"
        assert len(engines) == 1
        assert 50e6 < memory < 2e9
        assert used["engine"] > 0 and used["frontend"] > 0
    assert alone(TINY.models_dir, TINY.model) == alone(TINY.models_dir, TINY.model)


def test_the_fixed_engine_gives_its_own_vectors_through_the_real_processes() -> None:
    with pool_of(*fixed_model()) as pool, serving(TINY, program=FIXED) as service:
        figures = run(pool.job(service, 40, mode="closed", clients=8))

    assert (figures.asked, figures.answered) == (40, 40)


def test_a_poisoned_text_is_found_among_those_that_wait_with_it() -> None:
    model, ceiling = opened(TINY)
    with scratch() as folder:
        poison.plant(TINY, folder)
        vectors = ceiling.vectors(["turn on the light"] * 3)
        texts = ["turn on the light", f"turn on the {poison.WORD} light", "turn on the light"]
        requests = [ask(TINY.model, [text], "native", "base64") for text in texts]
        with serving(TINY.__class__(folder, TINY.model)) as service:
            connections = [Connection(HOST, service.port) for _ in texts]
            replies = poison.volley(connections, requests)
            for connection in connections:
                connection.close()

    judge = Judge(model.head.dimensions, "native", "base64")
    tokens = tuple(ceiling.tokens(texts[:1]))
    outcomes = [
        judge.judge(Question(request, 1, tokens, vectors[:1]), reply)[0]
        for request, reply in zip(requests, replies, strict=True)
        if reply is not None
    ]
    assert outcomes == [Outcome.RIGHT, Outcome.FAILED, Outcome.RIGHT]


def test_a_stop_loses_nothing_and_a_kill_of_the_supervisor_is_seen_to_lose() -> None:
    found = terms.measure(TINY, 1, ["a", "test"], quiet)

    (stop,) = found.terms
    assert (stop.unanswered, stop.wrong, stop.exit_code) == (0, 0, 0)
    assert found.control.caught, found.control.found


@pytest.mark.long
def test_an_overload_is_measured_to_its_end() -> None:
    found = overload.measure(TINY, 1.0, ["a", "test"], quiet)

    assert [part.engine for part in found.parts] == ["real", "fixed"]
    for part in found.parts:
        assert part.counts_agree
        assert part.load.asked == part.load.answered + part.load.shed, part.load.errors
    assert found.control.caught, found.control.found


@pytest.mark.long
def test_a_polite_client_is_measured_beside_a_greedy_one_and_a_shared_address_is_seen() -> None:
    found = fair.measure(TINY, 1.0, ["a", "test"], quiet, rounds=1)

    (each,) = found.rounds
    loads = (each.alone, each.few, each.many, found.shared)
    assert [load.greedy_open for load in loads] == [0, fair.FEW, fair.MANY, fair.MANY]
    assert [load.greedy and load.greedy.clients for load in loads] == [None, fair.FEW, fair.MANY, fair.MANY]
    assert all(load.not_right == 0 for load in loads), [(load.polite.errors, load.greedy) for load in loads]
    assert len({load.polite.asked for load in loads}) == 1
    assert found.control.caught, found.control.found


@pytest.mark.long
def test_a_bench_has_every_load_it_promises() -> None:
    found = bench.measure(bench.Options(TINY.models_dir, TINY.model, "fp32", 0.1), ["a", "test"], quiet)

    assert [each.load.clients for each in found.closed] == [loop.clients for loop in bench.LOOPS]
    assert [each.load_share for each in found.open_loop] == list(bench.LOAD_SHARES)
    assert all(each.load.not_right == 0 for each in found.closed), [each.load.errors for each in found.closed]
    assert found.closed[0].direct is not None and found.open_loop[0].direct is not None
    assert found.plan_name == "onnxruntime-fp32"


@pytest.mark.long
def test_every_length_is_answered_right_up_to_the_longest() -> None:
    options = full.Options(TINY.models_dir, TINY.model, "fp32", 0.05, tokens=[8, 62], texts=[1, 8])

    found = full.measure(options, ["a", "test"], quiet)

    assert [(cell.tokens, cell.texts_a_request) for cell in found.cells[::3]] == [(8, 1), (8, 8), (62, 1), (62, 8)]
    assert found.left_out == []
    assert all(cell.load.not_right == 0 for cell in found.cells), [cell.load.errors for cell in found.cells]
