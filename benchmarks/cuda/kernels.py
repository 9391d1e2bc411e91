"""Does a packed graph run as it should? Kernels, numbers, graphs, threads."""

import os
import threading
from collections.abc import Iterator, Mapping

import numpy as np
from onnx import ModelProto

from app.bundle.packed import PackedSpec, separate_qkv
from app.bundle.packing import Packed, Shape, pack
from app.bundle.scoring import unit
from app.engine.cuda_buckets import limits_for
from app.engine.cuda_kernels import EFFICIENT, FLASH
from app.engine.cuda_session import NO_GRAPH, PackedSession
from app.types import Rows
from benchmarks.cuda.bench import Bench, batch_of, limits, mixed_lengths, rows_of
from benchmarks.cuda.result import Row
from training.export.packed.graph import PackedPrecision
from training.export.packed.reference import PackedReference

FUSED = FLASH | EFFICIENT
THRESHOLD = "ORT_MIN_SEQ_LEN_FLASH_ATTENTION_PACKED_QKV"  # shorter packed batches leave flash attention, unless 0
PRECISIONS: tuple[PackedPrecision, ...] = ("fp16", "fp32")
GRAPH_TOKENS = (2048, 1024, 512, 256, 192, 128, 96, 64, 32, 16)
CAPTURE_RUNS = 3


def correctness(bench: Bench) -> Iterator[Row]:
    """Two layers over lengths of 3 to the longest, in each layout, precision and choice of kernels."""
    size = next(iter(bench.sizes.values()))
    for precision in PRECISIONS:
        graph, spec = bench.graph(size, precision, layers=2)
        lengths = [3, bench.longest, *mixed_lengths(14, bench.longest)]
        batch, rows = batch_of(lengths, spec), rows_of(lengths, spec)
        want = _vectors(PackedReference(graph, spec).run([row.tolist() for row in rows]), spec)
        for layout, model in (("qkv", graph), ("separate", separate_qkv(graph))):
            for kernels, threshold in ((FUSED, None), (EFFICIENT, None), (0, None), (0, "0")):
                yield {
                    "precision": precision,
                    "layout": layout,
                    "sdpa_kernel": kernels,
                    "threshold": threshold,
                    **_compared(bench, model, spec, batch, want, kernels, threshold),
                }


def _compared(
    bench: Bench, model: ModelProto, spec: PackedSpec, batch: Packed, want: Rows, kernels: int, threshold: str | None
) -> Row:
    """In which kernel it ran, how near it is to the reference, and how long a run takes."""
    if threshold is not None:
        os.environ[THRESHOLD] = threshold
    try:
        room = limits(spec, batch.shape.tokens)
        found: list[Rows] = []

        def use() -> None:
            session = bench.open(model, spec, room, kernels=kernels, graphs=False)
            found.append(_vectors(session.run(batch, NO_GRAPH), spec))

        ran_in = bench.kernels_of(use)
        session = bench.open(model, spec, room, kernels=kernels, graphs=False)
        run_ms = bench.milliseconds(session.run, batch, NO_GRAPH)
    finally:
        os.environ.pop(THRESHOLD, None)
    cosine = (unit(found[0]) * unit(want)).sum(axis=1)
    return {"kernels": ran_in, "min_cosine": round(float(cosine.min()), 7), "run_ms": run_ms}


def graphs(bench: Bench) -> Iterator[Row]:
    """Ten shapes captured in one session; replayed with other contents they must give what a launched run gives."""
    graph, spec = bench.graph(next(iter(bench.sizes.values())))
    session = bench.open(graph, spec, limits_for(spec), kernels=FUSED, graphs=True)
    shapes = [_shape(tokens, bench.longest) for tokens in GRAPH_TOKENS]
    before = bench.memory_mib()
    for graph_id, shape in enumerate(shapes):
        batch = _filled(shape, spec, step=0)
        for _ in range(CAPTURE_RUNS):
            session.run(batch, graph_id)
        other = _filled(shape, spec, step=1)
        difference = np.abs(
            _vectors(session.run(other, graph_id), spec) - _vectors(session.run(other, NO_GRAPH), spec)
        ).max()
        yield {
            "tokens": shape.tokens,
            "max_abs_diff": float(difference),
            "replay_ms": bench.milliseconds(session.run, other, graph_id),
            "launched_ms": bench.milliseconds(session.run, other, NO_GRAPH),
            "memory_since_first_mib": bench.memory_mib() - before,
        }
    yield {"tokens": shapes[-1].tokens, "from_another_thread": _elsewhere(session, _filled(shapes[-1], spec, step=1))}


def two_sessions(bench: Bench) -> Iterator[Row]:
    """Two sessions on two threads against one: the device is one."""
    graph, spec = bench.graph(next(iter(bench.sizes.values())))
    for tokens in bench.tokens:
        batch = batch_of(mixed_lengths(max(1, tokens // 40), bench.longest), spec)
        sessions = [
            bench.open(graph, spec, limits(spec, batch.shape.tokens), kernels=FUSED, graphs=False) for _ in range(2)
        ]
        yield {
            "tokens": batch.shape.tokens,
            "one_twice_ms": bench.milliseconds(_twice, sessions[0], batch),
            "two_at_once_ms": bench.milliseconds(_at_once, sessions, batch),
        }


def _twice(session: PackedSession, batch: Packed) -> None:
    session.run(batch, NO_GRAPH)
    session.run(batch, NO_GRAPH)


def _at_once(sessions: list[PackedSession], batch: Packed) -> None:
    threads = [threading.Thread(target=session.run, args=(batch, NO_GRAPH)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _elsewhere(session: PackedSession, batch: Packed) -> str:
    """What becomes of a replay on a thread that did not capture."""
    said: list[str] = []

    def replay() -> None:
        try:
            session.run(batch, len(GRAPH_TOKENS) - 1)
            said.append("runs")
        except Exception as error:  # what it raises is what is asked
            said.append(str(error).splitlines()[0])

    thread = threading.Thread(target=replay)
    thread.start()
    thread.join()
    return said[0]


def _shape(tokens: int, longest: int) -> Shape:
    return Shape(tokens, max(4, tokens // 8), min(longest, max(16, tokens)))


def _filled(shape: Shape, spec: PackedSpec, *, step: int) -> Packed:
    """A batch that fills a shape but for a tail, with other lengths for every `step`."""
    length = 2 * shape.tokens // shape.sequences + step
    return pack(rows_of([length] * (shape.tokens // length), spec), shape, spec)


def _vectors(outputs: Mapping[str, Rows], spec: PackedSpec) -> Rows:
    return outputs[next(iter(spec.outputs))]
