"""The packed runner answers as the graph does, from one thread, through graphs or without, and says when it cannot."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

from app.bundle.packed import PackedSpec, read_packed, separate_qkv
from app.bundle.packing import Packed
from app.engine.cuda_buckets import Limits, graph_shapes
from app.engine.cuda_errors import DeviceLostError
from app.engine.cuda_session import NO_GRAPH, OrtPackedSession, PackedSession
from app.engine.packed import CAPTURE_RUNS, NotFiniteError, PackedRunner
from app.types import Ids, Rows
from tests.app.engine.packed_sessions import Fault, ReferenceSession
from tests.data.packed import MAX_TOKENS, tiny_packed
from tests.packed_twin import cpu_twin

LIMITS = Limits(tokens=256, slots=1024, longest=64, graph_tokens=64)
VECTOR = "sentence_embedding"
ILLEGAL_ADDRESS = "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; expr=cudaStreamSynchronize(s)"
CAPTURE_FAILED = "CUDA failure 901: operation failed due to a previous error during capture ; GPU=0"


def make_rows(count: int, *, longest: int = MAX_TOKENS, seed: int = 1) -> list[Ids]:
    generator = np.random.default_rng(seed)
    return [generator.integers(1, 200, generator.integers(1, longest + 1)).astype(np.int32) for _ in range(count)]


def model_and_spec() -> tuple[onnx.ModelProto, PackedSpec]:
    data: bytes = tiny_packed().SerializeToString()
    return read_packed(data, "graph")


class Sessions:
    """Opens sessions for a runner and keeps them to be looked at."""

    def __init__(self, fault: Fault | None = None) -> None:
        self._model, self.spec = model_and_spec()
        self._fault = fault
        self.opened: list[tuple[bool, ReferenceSession]] = []

    def __call__(self, graphs: bool) -> PackedSession:
        session = ReferenceSession(self._model, self.spec, fault=self._fault)
        self.opened.append((graphs, session))
        return session


def runner_of(sessions: Sessions, *, graphs: bool = True, limits: Limits = LIMITS) -> PackedRunner:
    return PackedRunner(sessions.spec, limits, sessions, graphs=graphs)


def on_the_cpu(model: onnx.ModelProto, spec: PackedSpec) -> PackedRunner:
    """A runner over ONNX Runtime's own binding, with attention in plain operators."""
    twin: bytes = cpu_twin(model).SerializeToString()
    return PackedRunner(
        spec, LIMITS, lambda graphs: OrtPackedSession(twin, spec, LIMITS, "cpu", kernels=3, graphs=False), graphs=False
    )


def one_by_one(runner: PackedRunner, rows: list[Ids]) -> Rows:
    return np.concatenate([runner.run([row])[VECTOR] for row in rows])


# Answers --------------------------------------------------------------------------------------------------------------


def test_rows_of_a_batch_are_the_rows_alone_in_the_order_of_the_call() -> None:
    runner = runner_of(Sessions())
    rows = make_rows(24)

    together = runner.run(rows)[VECTOR]

    assert np.abs(together - one_by_one(runner, rows)).max() <= 1e-5
    assert np.abs(together[0] - together[1]).max() > 1e-2


def test_batch_over_the_limits_runs_in_parts_that_are_within_them() -> None:
    sessions = Sessions()
    runner = runner_of(sessions)
    rows = make_rows(60)
    _, session = sessions.opened[0]
    session.ran.clear()

    together = runner.run(rows)[VECTOR]

    assert len(session.ran) > 1
    assert all(shape.tokens <= 256 + 64 and shape.slots <= 1024 for shape, _ in session.ran)
    assert np.abs(together - one_by_one(runner, rows)).max() <= 1e-5


def test_small_batch_replays_a_graph_and_a_large_one_does_not() -> None:
    sessions = Sessions()
    runner = runner_of(sessions)
    _, session = sessions.opened[0]

    runner.run(make_rows(2, longest=10))
    small = session.ran[-1]
    runner.run([np.ones(60, np.int32)] * 4)
    large = session.ran[-1]

    assert small[1] != NO_GRAPH
    assert large[1] == NO_GRAPH


def test_computed_tokens_are_those_of_the_shapes_that_run() -> None:
    sessions = Sessions()
    runner = runner_of(sessions)
    _, session = sessions.opened[0]
    for rows in (make_rows(1, longest=5), make_rows(40)):
        session.ran.clear()

        runner.run(rows)

        assert runner.computed_tokens([len(row) for row in rows]) == sum(shape.tokens for shape, _ in session.ran)


def test_several_threads_use_the_device_through_one() -> None:
    sessions = Sessions()
    runner = runner_of(sessions)
    batches = [make_rows(5, seed=seed) for seed in range(8)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rows: runner.run(rows)[VECTOR], batches))

    for rows, vectors in zip(batches, found, strict=True):
        assert np.abs(vectors - one_by_one(runner, rows)).max() <= 1e-5
    _, session = sessions.opened[0]
    assert len(session.threads) == 1
    assert threading.get_ident() not in session.threads


def test_row_that_the_model_cannot_take_is_refused() -> None:
    runner = runner_of(Sessions(), graphs=False)

    with pytest.raises(ValueError, match="a row has 65 tokens; the graph takes 64"):
        runner.run([np.ones(65, np.int32)])
    with pytest.raises(ValueError, match="each row a token"):
        runner.run([np.ones(0, np.int32)])


# Start and fall-backs -------------------------------------------------------------------------------------------------


def test_graphs_are_captured_at_start_largest_first_after_the_largest_run() -> None:
    sessions = Sessions()

    runner = runner_of(sessions)

    (graphs, session), *others = sessions.opened
    warm, captured = session.ran[:CAPTURE_RUNS], session.ran[CAPTURE_RUNS:]
    shapes = graph_shapes(LIMITS)
    assert graphs and not others
    assert runner.has_graphs
    assert all(graph_id == NO_GRAPH and shape.tokens >= LIMITS.tokens - 64 for shape, graph_id in warm)
    assert captured == [(shape, number) for number, shape in enumerate(shapes) for _ in range(CAPTURE_RUNS)]
    assert shapes == sorted(shapes, reverse=True)


def failing_in_graphs(message: str) -> Fault:
    def fault(batch: Packed, graph_id: int) -> None:
        if graph_id == 3:
            raise RuntimeError(message)

    return fault


def test_failed_capture_leaves_a_runner_without_graphs(caplog: pytest.LogCaptureFixture) -> None:
    sessions = Sessions(failing_in_graphs(CAPTURE_FAILED))

    with caplog.at_level(logging.WARNING):
        runner = runner_of(sessions)

    assert [graphs for graphs, _ in sessions.opened] == [True, False]
    assert not runner.has_graphs
    assert "no CUDA graph of Shape(" in caplog.text
    assert "CUDA failure 901" in caplog.text
    rows = make_rows(3)
    assert runner.run(rows)[VECTOR].shape == (3, 32)
    assert sessions.opened[1][1].ran[-1][1] == NO_GRAPH


def test_device_lost_in_capture_is_told_at_start() -> None:
    sessions = Sessions(failing_in_graphs(ILLEGAL_ADDRESS))

    with pytest.raises(DeviceLostError, match="CUDA failure 700"):
        runner_of(sessions)

    assert len(sessions.opened) == 1


def test_lost_device_stays_lost() -> None:
    """The second call is refused without asking the device again."""
    broken = threading.Event()

    def fault(batch: Packed, graph_id: int) -> None:
        if broken.is_set():
            raise RuntimeError(ILLEGAL_ADDRESS)

    sessions = Sessions(fault)
    runner = runner_of(sessions, graphs=False)
    broken.set()

    with pytest.raises(DeviceLostError):
        runner.run(make_rows(1))
    runs = len(sessions.opened[0][1].ran)
    with pytest.raises(DeviceLostError, match="lost to this process: CUDA failure 700"):
        runner.run(make_rows(1))
    assert len(sessions.opened[0][1].ran) == runs


def test_passing_error_leaves_the_runner_usable() -> None:
    failures = iter([RuntimeError("CUDA failure 2: out of memory ; GPU=0")])

    def fault(batch: Packed, graph_id: int) -> None:
        if batch.rows == 7 and (error := next(failures, None)):
            raise error

    runner = runner_of(Sessions(fault), graphs=False)

    with pytest.raises(RuntimeError, match="out of memory"):
        runner.run(make_rows(7, longest=5))
    assert runner.run(make_rows(7, longest=5))[VECTOR].shape == (7, 32)


def test_vector_that_is_no_number_never_leaves() -> None:
    model, spec = model_and_spec()
    gamma = next(tensor for tensor in model.graph.initializer if tensor.name == "layer1.output_norm.gamma")
    gamma.raw_data = np.full(32, np.inf, np.float32).tobytes()
    runner = on_the_cpu(model, spec)

    with pytest.raises(NotFiniteError, match="not finite in a batch of 3 rows"):
        runner.run(make_rows(3))


# The session over ONNX Runtime's own binding, on the CPU --------------------------------------------------------------

LAYOUTS: list[Callable[[onnx.ModelProto], onnx.ModelProto]] = [lambda model: model, separate_qkv]


@pytest.mark.parametrize("layout", LAYOUTS, ids=["packed-qkv", "separate"])
def test_bound_views_of_one_buffer_give_what_the_reference_gives(
    layout: Callable[[onnx.ModelProto], onnx.ModelProto],
) -> None:
    model, spec = model_and_spec()
    runner = on_the_cpu(layout(model), spec)
    reference = runner_of(Sessions(), graphs=False)

    for count in (1, 2, 9, 33):
        rows = make_rows(count, seed=count)
        assert np.abs(runner.run(rows)[VECTOR] - reference.run(rows)[VECTOR]).max() <= 1e-5


def test_answers_do_not_change_with_later_runs() -> None:
    """The device's buffers are used again; what was handed out is the caller's."""
    runner = on_the_cpu(*model_and_spec())

    first = runner.run(make_rows(2))[VECTOR]
    kept = first.copy()
    runner.run(make_rows(2, seed=9))

    assert np.array_equal(first, kept)
