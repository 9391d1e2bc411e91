"""Every GPU experiment runs to its end, over tiny graphs on the CPU; what it measures there means nothing."""

from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort
import pytest
from onnx import ModelProto

from app.bundle.packed import PackedSpec
from app.engine.cuda_buckets import Limits
from app.engine.cuda_session import OrtPackedSession, PackedSession
from benchmarks.cuda.__main__ import EXPERIMENTS, main, run_experiment
from benchmarks.cuda.bench import Bench, Size, mixed_lengths, within
from benchmarks.cuda.result import CudaResult, Gpu, path_of, write_result
from benchmarks.machine import origin
from tests.e2e.service import TINY_MODELS
from tests.packed_twin import cpu_twin

TINY = Size(layers=2, hidden=32, heads=4)
WITHOUT_CUDA = pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="this ONNX Runtime has CUDA"
)


def open_on_the_cpu(
    model: ModelProto, spec: PackedSpec, limits: Limits, *, kernels: int, graphs: bool
) -> PackedSession:
    return OrtPackedSession(cpu_twin(model).SerializeToString(), spec, limits, "cpu", kernels=kernels, graphs=False)


def kernels_on_the_cpu(use: Callable[[], None]) -> str:
    use()
    return "written out"


@pytest.fixture
def bench() -> Bench:
    return Bench(
        device="cpu",
        open=open_on_the_cpu,
        kernels_of=kernels_on_the_cpu,
        memory_mib=lambda: 0,
        peak_tflops=1.0,
        models=TINY_MODELS,
        sizes={name: TINY for name in ("minilm", "base", "large")},
        tokens=(128, 256),
        lengths=(16, 64),
        timed_seconds=0.0,
        model="tiny-encoder",
        texts=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_runs_to_its_end(name: str, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    _seconds, rows = run_experiment(name, bench)

    assert rows
    assert all(not key.endswith("_ms") or float(str(value)) > 0 for row in rows for key, value in row.items())
    assert capsys.readouterr().out.count(f"{name}: ") == len(rows)


@pytest.mark.slow
def test_experiment_tells_right_from_wrong(bench: Bench) -> None:
    _seconds, rows = run_experiment("correctness", bench)
    _seconds, replays = run_experiment("graphs", bench)

    assert min(float(str(row["min_cosine"])) for row in rows) > 0.9999
    assert all(float(str(row.get("max_abs_diff", 0))) < 1e-3 for row in replays)


@WITHOUT_CUDA
@pytest.mark.parametrize("arguments", [[], ["--only", "graphs"]], ids=["all", "one"])
def test_machine_without_a_gpu_is_told_in_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([*arguments, "--out", str(tmp_path)])

    assert code == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_experiments_are_listed_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(EXPERIMENTS)


def test_result_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    result = CudaResult(
        experiment="graphs",
        question="?",
        origin=origin(["cuda"]),
        gpu=Gpu(name="NVIDIA H200", driver="1", memory_mib=1, peak_tflops=989.0),
        seconds=1.0,
        cut_short=False,
        rows=[{"tokens": 16, "replay_ms": 0.1, "kernels": "FLASH_ATTENTION", "share_of_peak": None}],
    )

    path = write_result(result, tmp_path)

    assert path == path_of(tmp_path, "graphs") == tmp_path / "cuda-graphs.json"
    assert CudaResult.model_validate_json(path.read_text(encoding="utf-8")) == result


def test_time_that_is_over_ends_an_experiment_after_the_row_it_is_in() -> None:
    assert list(within(0.0, iter([{"row": 1}, {"row": 2}]))) == [{"row": 1}]


def test_drawn_lengths_are_like_those_of_traffic() -> None:
    lengths = mixed_lengths(4000, 512)

    assert 33 <= sum(lengths) / len(lengths) <= 38
    assert min(lengths) >= 3
    assert max(lengths) > 200


def test_work_of_a_size_is_counted_as_published() -> None:
    """BERT-base at 128 tokens: 22 GFLOP a text."""
    assert Size(layers=12, hidden=768, heads=12).flops([128]) == pytest.approx(22.3e9, rel=0.02)
