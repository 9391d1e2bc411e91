import numpy as np
import onnxruntime as ort
import pytest

from app.__main__ import main
from app.bundle.open import open_bundle
from app.engine import session
from app.engine.cores import cores
from app.engine.load import golden_rows, load_model
from app.engine.runner import OrtRunner
from app.engine.session import DeviceError, choose_device, lanes_for
from tests.e2e.service import TINY_MODELS

FOLDER = TINY_MODELS / "store" / "tiny-encoder" / "1"
WITHOUT_CUDA = pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="this ONNX Runtime has CUDA: tests/gpu covers it"
)


@WITHOUT_CUDA
def test_cuda_that_is_not_there_is_refused_with_the_way_out() -> None:
    with pytest.raises(DeviceError, match=r"ENCODERY_DEVICE=cuda, but .* install the extra `cuda`.*auto or cpu"):
        choose_device("cuda")


@WITHOUT_CUDA
def test_a_cuda_session_never_lands_on_the_cpu() -> None:
    bundle = open_bundle(FOLDER)
    model = bundle.manifest.model_file("fp32")
    assert model is not None

    with pytest.raises(DeviceError, match="CUDAExecutionProvider"):
        session.create_session(bundle.read(model), "cuda")


def test_two_runtimes_over_each_other_are_refused() -> None:
    with pytest.raises(DeviceError, match="onnxruntime and onnxruntime-gpu are both installed"):
        session._check_installed_once({"onnxruntime-gpu", "onnxruntime"})


@WITHOUT_CUDA
def test_auto_without_cuda_is_the_cpu() -> None:
    assert choose_device("auto") == "cpu"


def test_a_cpu_has_a_lane_for_each_core_and_a_spare_unless_told_otherwise() -> None:
    assert lanes_for("cpu", None) == cores() + 1
    assert lanes_for("cpu", 3) == 3
    assert lanes_for("cuda", None) == 1


def test_a_loaded_model_knows_its_price() -> None:
    status = load_model(FOLDER, "cpu", lanes=2).status

    assert (str(status.key), status.device, status.cost.lanes) == ("tiny-encoder@1", "cpu", 2)
    assert status.plan is not None
    assert status.plan.name.endswith(status.precision)
    assert status.cost.overhead_ms > 0
    assert status.cost.ms_per_token > 0


def test_a_row_alone_is_the_row_in_a_batch() -> None:
    bundle = open_bundle(FOLDER)
    model = bundle.manifest.model_file("fp32")
    assert model is not None
    runner, rows = OrtRunner(bundle.manifest, bundle.read(model), "cpu"), golden_rows(bundle)

    together = runner.run(rows)["sentence_embedding"]

    for index, row in enumerate(rows):
        alone = runner.run([row])["sentence_embedding"][0]
        assert alone == pytest.approx(together[index], abs=1e-5)


def test_a_run_that_fails_raises_and_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A runtime that wrote to a standard error that nobody reads would wait there."""
    bundle = open_bundle(FOLDER)
    model = bundle.manifest.model_file("fp32")
    assert model is not None
    runner = OrtRunner(bundle.manifest, bundle.read(model), "cpu")

    with pytest.raises(Exception, match="ONNXRuntimeError"):
        runner.run([np.array([2**30], np.int32)])  # no such token

    assert capfd.readouterr().err == ""


def test_verify_replays_every_plan_and_prints_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(FOLDER)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny-encoder@1: onnxruntime-fp32: 41 golden rows agree"
    assert [line.split(": ")[1] for line in lines[1:3]] == ["openvino-bf16", "openvino-int8"]
    assert lines[-1] == "tiny-encoder@1: every file, the graph and 41 golden rows agree"


def test_verify_tells_of_an_unusable_device_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "RUNTIMES", ("onnxruntime", "numpy"))

    assert main(["verify", str(FOLDER)]) == 1
    assert capsys.readouterr().err == (
        "encodery: numpy and onnxruntime are both installed and overwrite each other; "
        "uninstall both and install one extra\n"
    )
