"""Several heads on one encoder: from a recipe over one bundle to the answers of each head."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from app.bundle.manifest import ClassifyHead
from app.bundle.verify import verify
from tests.data.make_tiny import make_sources, sentences
from tests.training.served import answers
from training.data import load_more
from training.errors import DataError, TrainingError
from training.export.onnx import torchscript
from training.finetune import fine_tune
from training.judge import evaluate
from training.progress import Progress
from training.recipe import Recipe, load_recipe
from training.run import export, load_heads, train
from training.step import move_once
from training.validate import validate_recipe

RECIPE = """
name = "house"
threads = 1
[data]
source = "files"
train = "house.jsonl"
label_separator = "|"
[encoder]
source = "tiny-bert"
[head]
task = "classify"
name = "intent"
[loss]
name = "cross_entropy"
[optim]
lr = 3e-3
head_lr_scale = 1.0
[budget]
epochs = 8
batch_size = 16
[export]
packed = false
int8 = false

[[more_heads]]
column = "topics"
[more_heads.head]
task = "classify"
name = "topics"
problem_type = "multi_label"
[more_heads.loss]
name = "binary_cross_entropy"

[[more_heads]]
weight = 0.5
data = { source = "files", train = "minutes.jsonl" }
[more_heads.head]
task = "classify"
name = "minutes"
problem_type = "regression"
[more_heads.loss]
name = "huber"
"""
TOPICS = {"lights_on": "light|house", "lights_off": "light|house", "play_music": "house", "weather": ""}
MINUTES = {"lights_on": 40.0, "lights_off": 43.0, "play_music": 31.0, "weather": 37.0}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two heads over the same rows and one over 80 others."""
    make_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    house = [{"text": text, "label": label, "topics": TOPICS[label]} for text, label in sentences()]
    minutes = [{"text": f"{text} now", "value": MINUTES[label] + len(text) / 10} for text, label in sentences()[::4]]
    for name, rows in (("house", house), ("minutes", minutes)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "house.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.slow
def test_one_graph_answers_for_every_head(recipe: Path) -> None:
    here = recipe.parent
    folder = train(recipe, models=here, progress=Progress())

    manifest = verify(folder).manifest
    intent, topics, _, vector = manifest.heads
    assert [head.name for head in manifest.heads] == ["intent", "topics", "minutes", "embedding"]
    assert len({head.output for head in manifest.heads}) == len(manifest.outputs) == 4
    assert isinstance(intent, ClassifyHead)
    assert isinstance(topics, ClassifyHead)
    assert (topics.labels, set(topics.thresholds)) == (["house", "light"], {"house", "light"})
    assert intent.temperature != topics.temperature != 1.0
    metrics, others = cast("dict[str, Any]", manifest.metrics), cast("dict[str, Any]", manifest.metrics["heads"])
    assert metrics["chosen_by"] == "dev mean_of_heads"
    assert metrics["accuracy"] > 0.9
    assert others["topics"]["macro_f1"] > 0.9
    assert others["minutes"]["mae"] < others["minutes"]["mae_of_the_mean"] / 2
    best = metrics["epochs"][metrics["best_epoch"] - 1]
    mean = best["accuracy_intent"] + best["macro_average_precision_topics"] + 0.5 * best["r_squared_minutes"]
    assert best["mean_of_heads"] == pytest.approx(mean / 2.5)
    assert {"confusion.png", "minutes-values.png"} <= {path.name for path in (folder / "report").iterdir()}
    assert (here / "runs" / "house" / "report" / "topics-mistakes.jsonl").exists()
    text = (folder / "MODEL_CARD.md").read_text()
    assert f"Head `minutes`, on {others['minutes']['rows']['test']} rows: " in text
    assert "- Head `minutes` has rows of its own: train 67, dev 6, test 13.\n" in text
    assert "Head `topics` has rows" not in text
    assert set(cast("dict[str, Any]", manifest.training["heads"])) == {"topics", "minutes"}
    golden = [json.loads(line) for line in (folder / "golden.jsonl").read_text().splitlines()]
    assert all(set(row["labels"]) == {"intent", "topics", "minutes"} for row in golden)
    assert any(row["text"].endswith(" now") for row in golden)

    splits = load_heads(load_recipe(recipe), here, Progress())
    asked = [[row.text for row in part.test] for part in splits]
    names = ["intent", "topics", "minutes"]
    questions = [("/classify", {"head": name, "texts": texts}) for name, texts in zip(names, asked, strict=True)]
    *classified, embedded = answers(here, "house", [*questions, ("/embed", {"model": "house", "texts": asked[0][:2]})])
    of_intent, of_topics, of_minutes = (answer["predictions"] for answer in classified)
    hits = [answer["label"] == row.label for answer, row in zip(of_intent, splits[0].test, strict=True)]
    assert metrics["accuracy"] == pytest.approx(np.mean(hits))
    exact = [
        sorted(answer["labels"]) == list(row.labels or ())
        for answer, row in zip(of_topics, splits[1].test, strict=True)
    ]
    assert others["topics"]["exact_match"] == pytest.approx(np.mean(exact))
    errors = [abs(answer["value"] - (row.value or 0)) for answer, row in zip(of_minutes, splits[2].test, strict=True)]
    assert others["minutes"]["mae"] == pytest.approx(np.mean(errors), abs=1e-3)
    assert np.array(embedded["embeddings"]).shape == (2, 32)
    assert vector.task == "embed"

    verdict = evaluate(recipe, models=here, progress=Progress())
    assert [one.metric for one in (verdict, *verdict.others)] == ["accuracy", "macro_f1", "mae"]
    assert "house@1, head minutes: mae" in str(verdict)
    again = verify(export(recipe, models=here, progress=Progress())).manifest
    assert cast("dict[str, Any]", again.metrics["heads"]) == others
    assert "the recipe and its data are sound" in validate_recipe(recipe, progress=Progress(), report=here / "out")
    assert (here / "out" / "minutes" / "data.html").exists()


def test_a_column_that_is_not_there_is_named_with_its_head(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace('column = "topics"', 'column = "topic"'))

    with pytest.raises(DataError, match=r"^head topics: the data have 344 faults") as refusal:
        load_more(load_recipe(recipe), recipe.parent)

    assert refusal.value.problems[0] == 'house.jsonl:1: no key "topic"; its keys: text, label, topics'


def test_a_killed_run_of_several_heads_ends_in_the_same_bits(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of every set of rows follows from the step: nothing of it is in the checkpoint."""
    read = load_recipe(recipe, ["budget.epochs=2", "budget.batch_size=32", "budget.checkpoint_steps=4"])
    whole = _tune(read, recipe.parent, "whole")
    steps = 0

    def stop(*arguments: object, **others: object) -> float:
        nonlocal steps
        steps += 1
        if steps == 15:
            raise KeyboardInterrupt
        return move_once(*arguments, **others)  # type: ignore[arg-type]  # handed through

    with monkeypatch.context() as patch:
        patch.setattr("training.loop.move_once", stop)
        with pytest.raises(KeyboardInterrupt):
            _tune(read, recipe.parent, "killed")
    resumed = _tune(read, recipe.parent, "killed", resume=True)

    assert resumed == whole


def test_other_rows_of_a_second_head_are_another_run(recipe: Path) -> None:
    read = load_recipe(recipe, ["budget.epochs=1"])
    _tune(read, recipe.parent, "run")
    rows = (recipe.parent / "minutes.jsonl").read_text().replace(" now", " soon")
    (recipe.parent / "minutes.jsonl").write_text(rows)

    with pytest.raises(TrainingError, match="minutes train rows was"):
        _tune(read, recipe.parent, "run", resume=True)


def _tune(recipe: Recipe, folder: Path, name: str, *, resume: bool = False) -> dict[str, list[float]]:
    splits, *more = load_heads(recipe, folder, Progress())
    tuned = fine_tune(recipe, splits, more=more, runs=folder / name, resume=resume, progress=Progress())
    return {key: tensor.flatten().tolist() for key, tensor in tuned.model.state_dict().items()}
