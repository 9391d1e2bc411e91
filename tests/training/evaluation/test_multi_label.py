"""Several labels a text: from a recipe over the bundle to the answers of the service."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from app.bundle.manifest import Agreement, ClassifyHead
from app.bundle.verify import verify
from tests.data.make_tiny import make_sources, sentences
from tests.training.served import predictions
from training.compare import compare
from training.data import load
from training.export.onnx import torchscript
from training.judge import evaluate
from training.metrics import label_figures, macro_f1, micro_f1
from training.progress import Progress
from training.recipe import load_recipe
from training.run import train

RECIPE = """
name = "several"
threads = 1
[data]
source = "files"
train = "several.jsonl"
columns = { label = "labels" }
[encoder]
source = "tiny-bert"
[head]
task = "classify"
name = "wishes"
problem_type = "multi_label"
[loss]
name = "binary_cross_entropy"
[optim]
lr = 3e-3
head_lr_scale = 1.0
[budget]
epochs = 8
batch_size = 16
[export]
packed = false
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One wish, two wishes in one sentence, or none."""
    make_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    rows = [{"text": text, "labels": [label]} for text, label in sentences()]
    for one, other in zip(rows[::3], rows[-2::-3], strict=False):
        if one["labels"] != other["labels"]:
            rows.append({"text": f"{one['text']} and {other['text']}", "labels": [*one["labels"], *other["labels"]]})
    rows += [
        {"text": f"the {place} is {number} years old", "labels": []}
        for place in ("garage", "hall")
        for number in range(9)
    ]
    (tmp_path / "several.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "several.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.slow
def test_labels_over_http_are_those_of_the_report(recipe: Path) -> None:
    folder = train(recipe, models=recipe.parent, progress=Progress())

    manifest = verify(folder).manifest
    head, metrics = manifest.heads[0], cast("dict[str, Any]", manifest.metrics)
    assert isinstance(head, ClassifyHead)
    assert (head.problem_type, set(head.thresholds)) == ("multi_label", set(head.labels))
    test = load(load_recipe(recipe), recipe.parent).test
    answers = predictions(recipe.parent, "several", [row.text for row in test])
    given_NC, right_NC = (
        np.array([[label in labels for label in head.labels] for labels in sets])
        for sets in ([answer["labels"] for answer in answers], [row.all_labels for row in test])
    )
    assert metrics["macro_f1"] == macro_f1(label_figures(given_NC, right_NC)) > 0.8
    assert metrics["micro_f1"] == micro_f1(given_NC, right_NC)
    assert metrics["exact_match"] == (given_NC == right_NC).all(axis=1).mean()
    low, high = metrics["intervals"]["macro_f1"]
    assert low <= metrics["macro_f1"] <= high
    assert metrics["per_class"]["weather"]["threshold"] == head.thresholds["weather"]
    assert metrics["chosen_by"] == "dev macro_average_precision"
    assert manifest.reference["label_shares"]["weather"] > 0  # type: ignore[index]  # JSON
    assert "any of 4 labels, each from a threshold of its own" in (folder / "MODEL_CARD.md").read_text()
    int8 = manifest.parity.get("model.int8.xml")
    assert int8 is None or (isinstance(int8, Agreement) and int8.judged_rows > 0)
    verdict = evaluate(recipe, models=recipe.parent, progress=Progress())
    assert (verdict.metric, verdict.value) == ("macro_f1", metrics["macro_f1"])
    assert "cannot be told apart: f1_of_a_row" in str(
        compare(recipe, "several", "several@1", models=recipe.parent, progress=Progress())
    )
    lines = (recipe.parent / "runs" / "several" / "report" / "mistakes.jsonl").read_text().splitlines()
    assert len(lines) == round((1 - metrics["exact_match"]) * len(test))
    assert all(set(json.loads(line)["scores"]) for line in lines)
