"""From a recipe and rows to a trained model with its figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.tiny import MakeRecipe
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.evaluate import predict
from training.finetune import fine_tune
from training.metrics import accuracy
from training.objectives import targets
from training.progress import Progress

PROBES = [
    Row("please turn on the lamp", "probes:1", label="switch_on"),
    Row("turn off the fan", "probes:2", label="switch_off"),
]


def test_a_classifier_comes_with_all_its_figures(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    recipe = make_recipe(baselines=True, head={"task": "classify", "out_of_scope": 0.5})

    tuned = fine_tune(recipe, intents, runs=tmp_path, resume=False, progress=Progress(), probes=PROBES)

    metrics = json.loads(tuned.report["report/metrics.json"])
    assert metrics == tuned.metrics
    assert set(tuned.report) == {"report/metrics.json", "report/confusion.png", "report/reliability.png"}
    assert metrics["temperature"] == tuned.temperature
    assert set(metrics["per_class"]) == {"switch_off", "switch_on"}
    assert set(metrics["baselines"]) == {"tfidf_svm", "frozen_logistic_regression"}
    assert metrics["baselines"]["tfidf_svm"]["accuracy"] == 1.0
    assert metrics["probes"]["rows"] == 2
    assert len(metrics["epochs"]) == 3
    assert metrics["rows"] == {"train": 24, "dev": 12, "test": 12}
    assert 0 <= metrics["ece_after"] <= 1
    texts = [row.text for row in intents.test]
    logits_NC = predict(tuned.model, tuned.loaded.tokenizer, texts, max_tokens=64, pad_id=0)["logits_label"]
    assert metrics["accuracy"] == accuracy(np.array(targets(intents.test, intents.labels)), logits_NC.argmax(axis=1))


def test_an_embedder_is_judged_by_retrieval(make_recipe: MakeRecipe, pairs: Splits, tmp_path: Path) -> None:
    recipe = make_recipe(task="embed", baselines=True)

    tuned = fine_tune(recipe, pairs, runs=tmp_path, resume=False, progress=Progress())

    assert tuned.temperature == 1.0
    assert set(tuned.report) == {"report/metrics.json"}
    figures = json.loads(tuned.report["report/metrics.json"])
    assert set(figures["baselines"]["encoder_before_training"]) == {"mrr", "recall_at_1"}
    assert 0 < figures["mrr"] <= 1


@pytest.mark.parametrize("task", ["classify", "embed"])
def test_the_same_seed_gives_the_same_weights_and_the_same_report(
    task: str, make_recipe: MakeRecipe, intents: Splits, pairs: Splits, tmp_path: Path
) -> None:
    recipe, splits = make_recipe(task=task, baselines=True), intents if task == "classify" else pairs

    one, other = (
        fine_tune(recipe, splits, runs=tmp_path / name, resume=False, progress=Progress()) for name in ("a", "b")
    )

    weights, others = one.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    assert (one.temperature, one.metrics, one.report) == (other.temperature, other.metrics, other.report)


def test_a_probe_with_an_unknown_label_is_found_before_training(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    probes = [Row("dim the lamp", "probes:1", label="dim")]

    with pytest.raises(TrainingError, match="probes:1: label 'dim' is none of the 2 labels"):
        fine_tune(make_recipe(), intents, runs=tmp_path, resume=False, progress=Progress(), probes=probes)


def test_pairs_without_a_positive_are_named(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"switch_on\.jsonl:1: no positive"):
        fine_tune(make_recipe(task="embed"), intents, runs=tmp_path, resume=False, progress=Progress())
