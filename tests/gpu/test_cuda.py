"""The same promises on a CUDA device. Imports nothing of training; run with `pytest -m gpu` where there is a GPU."""

import numpy as np
import pytest

from app.bundle.open import open_bundle
from app.bundle.scoring import unit
from app.engine.load import golden_rows, load_model, run_in_batches
from app.engine.runner import OrtRunner
from app.engine.session import choose_device, create_session
from tests.e2e.service import TINY_MODELS, running

pytestmark = pytest.mark.gpu

FOLDER = TINY_MODELS / "store" / "tiny-encoder" / "1"


def test_auto_takes_the_gpu() -> None:
    assert choose_device("auto") == "cuda"


def test_a_session_for_cuda_runs_on_cuda() -> None:
    bundle = open_bundle(FOLDER)
    model = bundle.manifest.model_file("fp32")
    assert model is not None

    session = create_session(bundle.read(model), "cuda")

    assert session.get_providers()[0] == "CUDAExecutionProvider"


def test_golden_rows_agree_on_the_gpu() -> None:
    loaded = load_model(FOLDER, "cuda", lanes=1)

    assert (loaded.status.device, loaded.status.precision) == ("cuda", "fp32")


def test_cpu_and_gpu_give_the_same_vectors() -> None:
    bundle = open_bundle(FOLDER)
    model = bundle.manifest.model_file("fp32")
    assert model is not None
    rows, data = golden_rows(bundle), bundle.read(model)

    cpu, gpu = (run_in_batches(OrtRunner(bundle.manifest, data, device), rows) for device in ("cpu", "cuda"))

    assert np.abs(unit(cpu["sentence_embedding"]) - unit(gpu["sentence_embedding"])).max() <= 1e-4


def test_the_service_answers_from_the_gpu() -> None:
    with running(device="cuda") as service:
        answer = service.post("/embed", {"texts": ["hello", "world"]})

        assert answer.status_code == 200
        assert "cuda fp32" in service.banner
