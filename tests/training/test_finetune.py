"""From a recipe and rows to a trained model with its figures."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.bundle.manifest import OutOfScope
from tests.training.tiny import MakeRecipe
from training.calibrate import Fitted
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.evaluate import predict
from training.finetune import fine_tune
from training.metrics import accuracy
from training.objectives.classification import targets
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
    pictures = {f"report/{name}.png" for name in ("confusion", "reliability", "curves")}
    assert set(tuned.report) == {"report/metrics.json", *pictures}
    assert metrics["temperature"] == tuned.heads[0].fitted.temperature
    assert tuned.heads[0].fitted.out_of_scope == OutOfScope(score="max_probability", threshold=0.5)
    assert metrics["out_of_scope"]["score"] == "max_probability"
    low, high = metrics["intervals"]["accuracy"]
    assert low <= metrics["accuracy"] <= high
    assert set(metrics["conformal"]) == {"0.9"}  # twelve dev rows are too few for 95 %
    assert (tmp_path / "report" / "mistakes.jsonl").exists()
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

    assert tuned.heads[0].fitted == Fitted()
    assert set(tuned.report) == {"report/metrics.json", "report/curves.png"}
    figures = json.loads(tuned.report["report/metrics.json"])
    assert {"mrr", "recall_at_1", "ndcg_at_10"} <= figures["baselines"]["encoder_before_training"].keys()
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
    assert (one.heads, one.metrics, one.report) == (other.heads, other.metrics, other.report)


def test_a_probe_with_an_unknown_label_is_found_before_training(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    probes = [Row("dim the lamp", "probes:1", label="dim")]

    with pytest.raises(TrainingError, match="probes:1: label 'dim' is none of the 2 labels"):
        fine_tune(make_recipe(), intents, runs=tmp_path, resume=False, progress=Progress(), probes=probes)


def test_pairs_without_a_positive_are_named(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"switch_on\.jsonl:1: no positive"):
        fine_tune(make_recipe(task="embed"), intents, runs=tmp_path, resume=False, progress=Progress())


def test_cuts_are_judged_beside_the_whole_vector(make_recipe: MakeRecipe, pairs: Splits, tmp_path: Path) -> None:
    recipe = make_recipe(task="embed", head={"task": "embed", "cuts": [8, 16]})

    tuned = fine_tune(recipe, pairs, runs=tmp_path, resume=False, progress=Progress())

    cuts = json.loads(tuned.report["report/metrics.json"])["cuts"]
    assert set(cuts) == {"8", "16"}
    assert all(0 < scores["mrr"] <= 1 for scores in cuts.values())


def test_a_cut_that_is_no_cut_is_refused(make_recipe: MakeRecipe, pairs: Splits, tmp_path: Path) -> None:
    recipe = make_recipe(task="embed", head={"task": "embed", "cuts": [16, 32]})

    with pytest.raises(TrainingError, match=r"head\.cuts: 32 is no cut of a vector of 32 numbers"):
        fine_tune(recipe, pairs, runs=tmp_path, resume=False, progress=Progress())


def test_without_dev_rows_nothing_is_calibrated_and_the_report_says_so(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    scope = {"score": "mahalanobis", "threshold": -50.0}
    recipe = make_recipe(budget={"epochs": 2, "choose": "last"}, head={"task": "classify", "out_of_scope": scope})
    splits = replace(intents, dev=[])

    tuned = fine_tune(recipe, splits, runs=tmp_path, resume=False, progress=Progress())

    assert (tuned.heads[0].fitted.temperature, tuned.heads[0].fitted.conformal) == (1.0, {})
    assert tuned.heads[0].fitted.out_of_scope == OutOfScope(score="mahalanobis", threshold=-50.0)
    assert tuned.heads[0].fitted.statistics is not None
    assert tuned.metrics["ece_before"] == tuned.metrics["ece_after"]
    assert tuned.metrics["calibrated_on"] == (
        "nothing: there are no dev rows, so the temperature is 1 and no conformal sets are offered"
    )
    assert (tuned.metrics["chosen_by"], tuned.metrics["best_epoch"]) == ("being the last", 2)
    assert tuned.report["report/curves.png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("task", ["classify", "embed"])
def test_figures_are_told_apart_by_slices(
    task: str, make_recipe: MakeRecipe, intents: Splits, pairs: Splits, tmp_path: Path
) -> None:
    splits = intents if task == "classify" else pairs
    test = [replace(row, slices=(str(number % 2),)) for number, row in enumerate(splits.test)]

    tuned = fine_tune(
        make_recipe(task=task),
        replace(splits, test=test, slices=("parity",)),
        runs=tmp_path,
        resume=False,
        progress=Progress(),
    )

    figure = "accuracy" if task == "classify" else "recall_at_1"
    found: Any = tuned.metrics["slices"]
    assert [(one["value"], one["rows"], one["is_few"]) for one in found["parity"]] == [
        ("0", len(test) // 2, True),
        ("1", len(test) // 2, True),
    ]
    mean = sum(one[figure] for one in found["parity"]) / 2
    assert mean == pytest.approx(tuned.metrics[figure])
    assert found["parity"][0]["intervals"].keys() >= {figure}
