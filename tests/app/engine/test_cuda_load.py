import logging
from pathlib import Path

import numpy as np
import pytest

from app.bundle.golden import load_golden
from app.bundle.open import open_bundle
from app.engine import cuda_load
from app.engine.agree import Exam
from app.engine.attempts import Attempts
from app.engine.cuda_choice import NoPlanError
from app.engine.cuda_load import load_on_gpu
from app.engine.load import golden_rows
from tests.e2e.service import TINY_MODELS

FOLDER = TINY_MODELS / "store" / "tiny-encoder" / "1"


def exam() -> Exam:
    bundle = open_bundle(FOLDER)
    return Exam(bundle.manifest, golden_rows(bundle), load_golden(bundle).outputs)


def test_the_plan_that_is_fastest_serves_and_says_why(tmp_path: Path) -> None:
    """Rehearsed on the CPU, where padded batches are what there is."""
    asked, path = exam(), tmp_path / "attempts.json"

    found = load_on_gpu(open_bundle(FOLDER), asked, attempts=Attempts(path), device="cpu")

    assert found is not None
    runner, status = found
    assert status.plan is not None
    assert status.plan.name == f"padded-{status.precision}"
    assert [each.name for each in status.plan.figures if each.verdict.startswith("serves")] == [status.plan.name]
    assert status.cost.lanes == 1
    assert status.cost.ms_per_token > 0
    for name, rows_BD in runner.run(asked.rows[:3]).items():
        assert np.abs(rows_BD - asked.expected[name][:3]).max() < 2e-2
    assert path.read_text() == "[]"  # each was tried, and the process lives


def test_without_any_plan_the_reference_is_left_to_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_holds(*_: object, **__: object) -> None:
        raise NoPlanError("no plan runs this model on the GPU")

    monkeypatch.setattr(cuda_load, "choose_plan", none_holds)

    with caplog.at_level(logging.WARNING):
        assert load_on_gpu(open_bundle(FOLDER), exam(), attempts=Attempts(), device="cpu") is None

    assert "the reference plan is taken" in caplog.text
