"""How fast is a packed graph, and what do its parts cost?"""

from collections.abc import Iterator, Mapping

from onnx import ModelProto

from app.bundle.packed import PackedSpec, separate_qkv
from app.bundle.packing import Shape, pack
from app.engine.cuda_buckets import GraphIndex, eager_shape, graph_shapes, limits_for
from app.engine.cuda_session import NO_GRAPH, PackedSession
from app.types import Ids
from benchmarks.cuda.bench import Bench, Size, batch_of, limits, mixed_lengths, rows_of
from benchmarks.cuda.kernels import CAPTURE_RUNS, FUSED
from benchmarks.cuda.result import Row


def throughput(bench: Bench, name: str) -> Iterator[Row]:
    """Texts of one length, by length and tokens a run, in both layouts: where T is best, and how much is used."""
    size = bench.sizes[name]
    graph, spec = bench.graph(size)
    layouts = {"qkv": graph, "separate": separate_qkv(graph)}
    room = limits(spec, max(bench.tokens))
    sessions = {layout: bench.open(m, spec, room, kernels=FUSED, graphs=False) for layout, m in layouts.items()}
    for tokens in bench.tokens:
        for length in bench.lengths:
            lengths = [length] * (tokens // length)
            if not lengths or eager_shape(lengths).slots > room.slots:
                continue
            batch = batch_of(lengths, spec)
            for layout, session in sessions.items():
                run_ms = bench.milliseconds(session.run, batch, NO_GRAPH)
                yield {"size": name, "layout": layout, "length": length, **_rates(bench, size, lengths, run_ms)}


def latency(bench: Bench) -> Iterator[Row]:
    """One text: launched kernel by kernel, and replayed; packing, copies and all."""
    for name, size in bench.sizes.items():
        graph, spec = bench.graph(size)
        room = limits_for(spec)
        session = bench.open(graph, spec, room, kernels=FUSED, graphs=True)
        shapes = graph_shapes(room)
        index = GraphIndex(shapes)
        for length in sorted({8, *bench.lengths}):
            found = index.find(length, 1, length)
            assert found is not None  # every single text has a graph
            shape, graph_id = found
            rows = rows_of([length], spec)
            for _ in range(CAPTURE_RUNS):
                session.run(pack(rows, shape, spec), graph_id)
            yield {
                "size": name,
                "length": length,
                "launched_ms": bench.milliseconds(
                    _packed_and_run, session, rows, eager_shape([length]), spec, NO_GRAPH
                ),
                "replayed_ms": bench.milliseconds(_packed_and_run, session, rows, shape, spec, graph_id),
                "packing_ms": bench.milliseconds(pack, rows, shape, spec),
            }


def _packed_and_run(session: PackedSession, rows: list[Ids], shape: Shape, spec: PackedSpec, graph_id: int) -> None:
    session.run(pack(rows, shape, spec), graph_id)


def parts(bench: Bench) -> Iterator[Row]:
    """What pooling, embedding and the cut of the last layer cost or save, by leaving them out."""
    for name, size in bench.sizes.items():
        mean, spec = bench.graph(size)
        cut, _ = bench.graph(size, pooling="cls")
        fused, _ = bench.graph(size, fused_embedding=True)
        variants: Mapping[str, ModelProto] = {
            "mean by attention": mean,
            "mean by attention, fused embedding": fused,
            "cls, last layer cut": cut,
            "cls, last layer whole": whole_cls(mean, size),
        }
        for tokens in (bench.tokens[0], bench.tokens[-1]):
            lengths = mixed_lengths(max(1, tokens // 40), bench.longest)
            batch = batch_of(lengths, spec)
            for variant, model in variants.items():
                session = bench.open(model, spec, limits(spec, batch.shape.tokens), kernels=FUSED, graphs=False)
                run_ms = bench.milliseconds(session.run, batch, NO_GRAPH)
                yield {"size": name, "variant": variant, **_rates(bench, size, lengths, run_ms)}


def whole_cls(model: ModelProto, size: Size) -> ModelProto:
    """The graph with the first token's state as its vector, and nothing saved in the last layer."""
    other = ModelProto()
    other.CopyFrom(model)
    kept = [node for node in other.graph.node if node.output[0] != "mean"]
    gather = next(node for node in kept if node.output[0] == "mean.cls")
    gather.input[0] = f"layer{size.layers - 1}.output_norm"
    del other.graph.node[:]
    other.graph.node.extend(kept)
    return other


def _rates(bench: Bench, size: Size, lengths: list[int], run_ms: float) -> Row:
    tflops = size.flops(lengths) / run_ms / 1e9
    return {
        "tokens": sum(lengths),
        "texts": len(lengths),
        "run_ms": run_ms,
        "texts_per_s": round(len(lengths) / run_ms * 1e3, 1),
        "tflops": round(tflops, 2),
        "share_of_peak": None if bench.peak_tflops is None else round(tflops / bench.peak_tflops, 4),
    }
