"""Two bundles on one test split: a planted difference is seen, a copy is not."""

import json
import shutil
from pathlib import Path

import pytest

from tests.data.make_tiny import make_sources
from training.compare import compare
from training.errors import TrainingError
from training.export.onnx import torchscript
from training.progress import Progress
from training.run import import_encoder, train


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its bundle after one epoch (1) and after twelve (2), and an encoder."""
    folder = tmp_path_factory.mktemp("compare")
    make_sources(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("training.export.onnx.WAYS", (torchscript,))
        patch.setattr("training.export.variants.MAKERS", ())
        for epochs in (1, 12):
            changes = [f"budget.epochs={epochs}", "baselines=false"]
            train(folder / "tiny.toml", models=folder, progress=Progress(), overrides=changes)
            shutil.rmtree(folder / "runs")
        import_encoder("tiny-bert", models=folder, progress=Progress())
    return folder


@pytest.mark.slow
def test_a_better_bundle_is_called_better(here: Path) -> None:
    found = compare(here / "tiny.toml", "tiny-classifier@1", "tiny-classifier", models=here, progress=Progress())

    accuracy, macro_f1 = found.differences
    assert accuracy.p is not None and accuracy.p < 0.05
    assert accuracy.by > 0 and macro_f1.by > 0
    reported = json.loads((here / "store" / "tiny-classifier" / "2" / "manifest.json").read_text())["metrics"]
    assert accuracy.b == pytest.approx(reported["accuracy"])
    assert macro_f1.b == pytest.approx(reported["macro_f1"])
    lines = str(found).splitlines()
    assert lines[0].startswith("tiny-classifier@2 is better than tiny-classifier@1: accuracy ")
    assert lines[1].startswith("  accuracy: +")


@pytest.mark.slow
def test_a_copy_cannot_be_told_apart(here: Path) -> None:
    found = compare(here / "tiny.toml", "tiny-classifier", "tiny-classifier@2", models=here, progress=Progress())

    assert found.differences[0].p == 1.0
    assert found.verdict.startswith("tiny-classifier@2 and tiny-classifier@2 cannot be told apart: accuracy ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("nobody", "has no bundle 'nobody'; name it as NAME or NAME@VERSION"),
        ("tiny-classifier@9", "tiny-classifier has no version 9 in .*; it has: 1, 2"),
        ("tiny-bert", "one classifies, the other embeds"),
        ("../tiny-bert", "has no bundle '../tiny-bert'"),
    ],
)
def test_what_cannot_be_compared_is_named(here: Path, second: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        compare(here / "tiny.toml", "tiny-classifier", second, models=here, progress=Progress())
