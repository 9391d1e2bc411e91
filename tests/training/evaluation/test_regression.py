"""A number a text: from a recipe over the bundle to the answers of the service."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from app.bundle.manifest import ClassifyHead
from app.bundle.verify import verify
from tests.data.make_tiny import make_sources, sentences
from tests.training.served import predictions
from training.compare import compare
from training.data import load
from training.export.onnx import torchscript
from training.judge import evaluate
from training.progress import Progress
from training.recipe import load_recipe
from training.run import export, train

RECIPE = """
name = "minutes"
threads = 1
[data]
source = "files"
train = "minutes.jsonl"
slices = ["kind"]
[encoder]
source = "tiny-bert"
[head]
task = "classify"
name = "minutes"
problem_type = "regression"
[loss]
name = "huber"
[optim]
lr = 3e-3
head_lr_scale = 1.0
[budget]
epochs = 8
batch_size = 16
[export]
int8 = false
packed = false
"""
MINUTES = {"lights_on": 4000.0, "lights_off": 4300.0, "play_music": 3100.0, "weather": 3700.0}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Numbers of thousands: limits that are right for logits are wrong for them."""
    make_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    rows = [{"text": text, "value": MINUTES[label] + len(text), "kind": label} for text, label in sentences()]
    (tmp_path / "minutes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "minutes.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.slow
def test_values_over_http_are_those_of_the_report(recipe: Path) -> None:
    folder = train(recipe, models=recipe.parent, progress=Progress())

    manifest = verify(folder).manifest
    head, metrics = manifest.heads[0], cast("dict[str, Any]", manifest.metrics)
    assert isinstance(head, ClassifyHead)
    assert (head.problem_type, head.labels, head.temperature) == ("regression", ["value"], 1.0)
    test = load(load_recipe(recipe), recipe.parent).test
    answers = predictions(recipe.parent, "minutes", [row.text for row in test])
    found_N, right_N = np.array([answer["value"] for answer in answers]), np.array([row.value for row in test])
    assert metrics["mae"] == pytest.approx(np.abs(found_N - right_N).mean(), abs=1e-3)
    assert metrics["mae"] < metrics["mae_of_the_mean"] / 3
    assert metrics["spearman"] > 0.4
    assert metrics["chosen_by"] == "dev r_squared"
    low, high = metrics["intervals"]["rmse"]
    assert low <= metrics["rmse"] <= high
    assert set(cast("dict[str, Any]", manifest.reference["values"])) == {"0", "0.25", "0.5", "0.75", "1"}
    assert "head `minutes`: a number." in (folder / "MODEL_CARD.md").read_text()
    assert (folder / "report" / "values.png").exists()
    assert sum(part["rows"] for part in metrics["slices"]["kind"]) == len(test)
    assert all({"value", "mae", "intervals"} <= set(part) for part in metrics["slices"]["kind"])
    verdict = evaluate(recipe, models=recipe.parent, progress=Progress())
    assert verdict.metric == "mae"
    assert verdict.value == pytest.approx(metrics["mae"], abs=1e-3)
    assert "cannot be told apart: mae" in str(
        compare(recipe, "minutes", "minutes", models=recipe.parent, progress=Progress())
    )
    again = verify(export(recipe, models=recipe.parent, progress=Progress())).manifest  # not rescaled twice
    assert again.metrics["mae"] == metrics["mae"]
