"""Packed graphs on a CUDA device. Of training only what needs no torch is used; run with `pytest -m gpu`."""

import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from app.bundle.golden import load_golden
from app.bundle.open import open_bundle
from app.bundle.packed import PackedSpec, read_packed, separate_qkv
from app.bundle.scoring import unit
from app.engine.attempts import Attempts
from app.engine.cuda_buckets import limits_for
from app.engine.cuda_kernels import EFFICIENT, FLASH
from app.engine.cuda_plans import choose_plan, open_packed
from app.engine.cuda_session import OrtPackedSession
from app.engine.load import golden_rows
from app.engine.packed import PackedRunner
from app.types import Ids, Rows
from tests.data.packed import MAX_TOKENS, tiny_packed
from tests.e2e.service import TINY_MODELS
from training.export.packed.graph import PackedPrecision
from training.export.packed.reference import PackedReference

pytestmark = pytest.mark.gpu

FOLDER = TINY_MODELS / "store" / "tiny-encoder" / "1"
VECTOR = "sentence_embedding"
FUSED = FLASH | EFFICIENT


def graph_and_spec(precision: PackedPrecision) -> tuple[onnx.ModelProto, PackedSpec]:
    data: bytes = tiny_packed(precision).SerializeToString()
    return read_packed(data, "graph")


def make_rows(count: int) -> list[Ids]:
    generator = np.random.default_rng(count)
    return [generator.integers(1, 400, generator.integers(1, MAX_TOKENS + 1)).astype(np.int32) for _ in range(count)]


def vectors(runner: PackedRunner, rows: list[Ids]) -> Rows:
    return unit(runner.run(rows)[VECTOR])


@pytest.mark.parametrize("layout", ["qkv", "separate"])
@pytest.mark.parametrize(("precision", "cosine"), [("fp16", 0.9999), ("fp32", 0.999999)])
def test_packed_graph_gives_what_its_reference_gives(precision: PackedPrecision, cosine: float, layout: str) -> None:
    graph, spec = graph_and_spec(precision)
    model = graph if layout == "qkv" else separate_qkv(graph)

    runner = open_packed(model, spec, "cuda", kernels=FUSED, graphs=True)

    assert runner.has_graphs
    reference = PackedReference(graph, spec)
    for count in (1, 2, 9, 33, 400):
        rows = make_rows(count)
        want = unit(reference.run([row.tolist() for row in rows])[VECTOR])
        assert (vectors(runner, rows) * want).sum(axis=1).min() >= cosine


def test_replayed_graph_gives_what_a_launched_run_gives() -> None:
    graph, spec = graph_and_spec("fp16")
    data, limits = graph.SerializeToString(), limits_for(spec)

    def open_session(graphs: bool) -> OrtPackedSession:
        return OrtPackedSession(data, spec, limits, "cuda", kernels=FUSED, graphs=graphs)

    replayed, launched = (PackedRunner(spec, limits, open_session, graphs=graphs) for graphs in (True, False))

    for count in (1, 3, 1, 8, 2):
        rows = make_rows(count)
        assert np.abs(vectors(replayed, rows) - vectors(launched, rows)).max() <= 2e-3


def test_a_plan_that_gives_the_golden_outputs_is_found(tmp_path: Path) -> None:
    """The packed graph is another model's: it has to be seen."""
    bundle = open_bundle(FOLDER)
    model = bundle.manifest.model_file("fp32")
    assert model is not None

    choice = choose_plan(
        bundle.manifest,
        model=bundle.read(model),
        packed=tiny_packed("fp16").SerializeToString(),
        rows=golden_rows(bundle),
        expected=load_golden(bundle).outputs,
        attempts=Attempts(tmp_path / "attempts.json"),
        clock=time.perf_counter,
    )

    assert choice.candidate.name.startswith("padded-")
    assert all("B10-golden" in reason for name, reason in choice.refused.items() if name.startswith("packed"))
