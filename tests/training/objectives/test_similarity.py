"""Scores of pairs are learned, at every size of a vector, and judged by correlation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tests.training.tiny import MakeRecipe
from training.compare import compare
from training.data.rows import Splits
from training.errors import TrainingError
from training.evaluate import predict
from training.export.onnx import torchscript
from training.finetune import build_model, fine_tune
from training.judge import evaluate
from training.modeling import load_encoder
from training.objectives import make_objective
from training.progress import Progress
from training.recipe import Recipe
from training.run import train

DATA = {"source": "files", "train": "unused.jsonl", "columns": {"score": "score"}}


def scored_recipe(make_recipe: MakeRecipe, name: str = "cosent", **tables: object) -> Recipe:
    budget = {"epochs": 6, "batch_size": 8}
    return make_recipe(**{"task": "embed", "data": DATA, "loss": {"name": name}, "budget": budget, **tables})


@pytest.mark.parametrize("loss", ["cosent", "angle"])
def test_scores_are_learned_and_the_test_figures_have_intervals(
    loss: str, make_recipe: MakeRecipe, scored: Splits, tmp_path: Path
) -> None:
    recipe = scored_recipe(make_recipe, loss, baselines=True, head={"task": "embed", "cuts": [8]})

    tuned = fine_tune(recipe, scored, runs=tmp_path, resume=False, progress=Progress())

    metrics = json.loads(tuned.report["report/metrics.json"])
    texts = [row.text for row in scored.test] + [row.positive or "" for row in scored.test]
    vectors = predict(tuned.model, tuned.loaded.tokenizer, texts, max_tokens=64, pad_id=0)["sentence_embedding"]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = (vectors[: len(scored.test)] * vectors[len(scored.test) :]).sum(axis=1)
    assert metrics["spearman"] == pytest.approx(spearmanr(alike, [row.score for row in scored.test]).statistic)
    assert metrics["spearman"] > metrics["baselines"]["encoder_before_training"]["spearman"]
    assert metrics["chosen_by"] == "dev spearman"
    for name in ("spearman", "pearson"):
        low, high = metrics["intervals"][name]
        assert low <= metrics[name] <= high
    assert metrics["cuts"]["8"]["spearman"] != metrics["spearman"]


@pytest.mark.parametrize("loss", ["cosent", "angle"])
def test_cuts_and_cached_rows_go_with_both_losses(
    loss: str, make_recipe: MakeRecipe, calm_encoder: Path, scored: Splits
) -> None:
    """The loss of two sizes is the mean of both, and the same however the batch is encoded."""
    losses = []
    for cuts, cached_rows in (([], None), ([8], None), ([8], 3)):
        recipe = scored_recipe(
            make_recipe,
            head={"task": "embed", "cuts": cuts},
            loss={"name": loss, "cached_rows": cached_rows},
            encoder={"source": str(calm_encoder)},
        )
        assert recipe.loss is not None
        loaded = load_encoder(recipe.encoder)
        objective = make_objective(recipe, recipe.loss, scored, loaded)
        with torch.no_grad():
            losses.append(objective.loss(build_model(loaded, recipe, []), range(8)).item())
    whole, both, cached = losses

    assert both != pytest.approx(whole, rel=1e-3)
    assert cached == pytest.approx(both, rel=1e-5)


def test_a_pair_without_a_score_is_named(make_recipe: MakeRecipe, scored: Splits) -> None:
    recipe = scored_recipe(make_recipe)
    assert recipe.loss is not None
    lame = replace(scored, test=[*scored.test[1:], replace(scored.test[0], score=None)])

    with pytest.raises(TrainingError, match=r"scored:2\.0: no score; name its column in data\.columns\.score"):
        make_objective(recipe, recipe.loss, lame, load_encoder(recipe.encoder))


@pytest.mark.slow
def test_from_a_file_of_scores_to_a_bundle_that_is_judged_by_them(
    tiny_encoder: Path, scored: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores come as the texts of a CSV file; the gate holds the graph's correlation against the model's."""
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    monkeypatch.setattr("training.export.variants.MAKERS", ())
    for split in ("train", "dev", "test"):
        lines = [f"{row.text},{row.positive},{row.score}" for row in getattr(scored, split)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,positive,how_alike", *lines, ""]))
    path = tmp_path / "scored.toml"
    path.write_text(
        f"""
        name = "scored"
        [data]
        source = "files"
        train = "train.csv"
        dev = "dev.csv"
        test = "test.csv"
        columns = {{ score = "how_alike" }}
        [encoder]
        source = "{tiny_encoder}"
        [head]
        task = "embed"
        [loss]
        name = "cosent"
        [optim]
        lr = 3e-3
        """
    )

    for epochs in (1, 6):
        changes = [f"budget.epochs={epochs}", "budget.batch_size=8"]
        folder = train(path, models=tmp_path, progress=Progress(), overrides=changes)

    reported = json.loads((folder / "manifest.json").read_text())["metrics"]["spearman"]
    verdict = evaluate(path, models=tmp_path, progress=Progress())
    assert (verdict.metric, verdict.rows) == ("spearman", len(scored.test))
    assert verdict.value == pytest.approx(reported, abs=0.01)
    found = compare(path, "scored@1", "scored@2", models=tmp_path, progress=Progress())
    assert [one.metric for one in found.differences] == ["spearman"]
    assert found.differences[0].b == pytest.approx(verdict.value)
    assert "; nearer to the score: A " in str(found)
