"""Encoders from scratch, from the texts of a recipe to the answers of the service."""

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, EmbedHead, Manifest
from app.bundle.open import open_bundle
from app.engine.load import load_model
from app.engine.local import LocalEngine
from app.main import create_app
from app.serving.catalog import Catalog
from app.settings import Settings
from app.types import ModelKey
from tests.fakes import Client
from tests.training.scratch.tables import ALL, SMALL_RECURRENT, SMALL_TRANSFORMER, fresh
from training.data.rows import Row, Splits
from training.evaluate import predict
from training.evaluation.trained import Taught
from training.export.describe import Finished
from training.export.onnx import export_graph, torchscript
from training.export.parity import Reference, Shipped, check_parity
from training.export.publish import publish
from training.finetune import fine_tune
from training.modeling import ClassifierHead, Model
from training.progress import Progress
from training.recipe import Recipe
from training.run import finished

CLOSE = 1e-5
LEARNED = 0.75  # of twelve rows; guessing gives half
TEXTS = ["switch on the lamp", "", "Stop the KETTLE!", "turn off the garden pump " * 20, "東京 ☕ [SEP]"]
ONE_LAYER = {**SMALL_RECURRENT, "layers": 1}  # each layer takes dynamo seconds
SERVED: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "rnn": ({"kind": "rnn", "tokenizer": {"kind": "characters"}, **SMALL_RECURRENT}, "torchscript"),
    "lstm": (
        {"kind": "lstm", "tokenizer": {"kind": "wordpiece", "size": 90}, **ONE_LAYER},
        "dynamo + ort_fusions",
    ),
    "gru": ({"kind": "gru", "tokenizer": {"kind": "bpe", "size": 300}, **ONE_LAYER}, "dynamo + ort_fusions"),
    "transformer": ({"kind": "transformer", **SMALL_TRANSFORMER}, "dynamo + ort_fusions"),
}


def recipe_of(encoder: Mapping[str, Any], **tables: object) -> Recipe:
    raw: dict[str, object] = {
        "name": "tiny",
        "encoder": {**encoder},
        "head": {"task": "classify", "name": "intent"},
        "data": {"source": "files", "train": "unused.jsonl"},
        "loss": {"name": "cross_entropy"},
        "optim": {"lr": 1e-2, "head_lr_scale": 1.0},
        "budget": {"epochs": 20, "batch_size": 8},
        "export": {"int8": False, "packed": False},
    }
    return Recipe.model_validate({**raw, **tables})


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "exporter"), SERVED.values(), ids=SERVED)
def test_trained_from_scratch_and_answered_as_in_torch(
    encoder: Mapping[str, Any], exporter: str, intents: Splits, tmp_path: Path
) -> None:
    recipe = recipe_of(encoder)
    tuned = fine_tune(recipe, intents, runs=tmp_path / "runs", resume=False, progress=Progress())

    folder = publish(finished(recipe, tuned), tmp_path / "store", progress=Progress())

    manifest = open_bundle(folder).manifest
    assert (manifest.training["exporter"], manifest.trunk.source) == (exporter, "scratch")
    accuracy = tuned.metrics["accuracy"]
    assert isinstance(accuracy, float)
    assert accuracy >= LEARNED
    expected = predict(tuned.model, tuned.loaded.tokenizer, TEXTS, max_tokens=24, pad_id=tuned.loaded.pad_id)
    embedded, classified = _ask(folder, manifest, {"/embed": {"normalize": False}, "/classify": {"raw_scores": True}})
    assert np.abs(np.array(embedded["embeddings"]) - expected[EMBEDDING_OUTPUT]).max() < CLOSE
    assert np.abs(_raw_scores(classified, manifest) - expected["logits_intent"]).max() < CLOSE


@pytest.mark.parametrize("raw", ALL.values(), ids=ALL)
def test_every_kind_passes_the_gate(raw: Mapping[str, Any]) -> None:
    """By the quickest exporter: that it has learned no length by heart, and no row feels another."""
    loaded = fresh(raw)
    model = Model(loaded.encoder, {"intent": ClassifierHead(loaded.encoder.hidden, 3, 0.1)}).eval()

    graph = export_graph(model, torchscript, max_tokens=loaded.max_tokens)

    heads: list[ClassifyHead | EmbedHead] = [
        ClassifyHead(name="intent", output="logits_intent", problem_type="single_label", labels=["a", "b", "c"])
    ]
    reference = Reference(model, loaded.tokenizer, loaded.max_tokens, loaded.pad_id)
    parity = check_parity(reference, Shipped(graph.data, loaded.tokenizer.to_str().encode(), heads))
    assert parity.vector_max_abs_diff is not None
    assert parity.vector_max_abs_diff < CLOSE


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_a_recurrent_encoder_goes_without_variants_and_says_why(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    loaded = fresh({"kind": kind, **ONE_LAYER})
    recipe = recipe_of(
        {"kind": kind, **ONE_LAYER}, head={"task": "embed"}, loss={"name": "in_batch_negatives"}, export={}
    )
    imported = Finished(recipe, Model(loaded.encoder, {}).eval(), loaded, [Taught(recipe.head)], {})

    manifest = open_bundle(publish(imported, tmp_path, progress=Progress())).manifest

    refused = _table(manifest.training["refused"])
    layer = {"rnn": "RNNSequence", "lstm": "LSTMSequence", "gru": "GRUSequence"}[kind]
    assert refused["int8 for CPUs"] == f"G11-int8: OpenVINO takes the weights of {layer} in float32 alone"
    assert refused["packed fp16 for CUDA"].startswith("RecurrentTrunk has no packed graph")
    assert manifest.model_file("int8", "cpu") is None


def test_a_run_that_is_done_is_taken_up_again(intents: Splits, tmp_path: Path) -> None:
    """The tokenizer is trained anew and the weights are drawn anew: both are what they were."""
    recipe = recipe_of({"kind": "gru", **SMALL_RECURRENT}, budget={"epochs": 1, "batch_size": 8})
    first = fine_tune(recipe, intents, runs=tmp_path, resume=False, progress=Progress())

    again = fine_tune(recipe, intents, runs=tmp_path, resume=True, progress=Progress())

    state = first.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in again.model.state_dict().items())
    assert again.metrics == first.metrics


def test_the_tokenizer_learns_from_train_alone(intents: Splits, tmp_path: Path) -> None:
    rows = [Row("ŋŋŋŋ the lamp", f"dev.jsonl:{n}", label="switch_on") for n in range(3)]
    splits = dataclasses.replace(intents, dev=[*intents.dev, *rows], test=[*intents.test, *rows])
    recipe = recipe_of({"kind": "gru", "tokenizer": {"kind": "characters"}, **SMALL_RECURRENT})

    tuned = fine_tune(recipe, splits, runs=tmp_path, resume=False, progress=Progress())

    assert tuned.loaded.tokenizer.token_to_id("ŋ") is None
    assert tuned.loaded.tokenizer.token_to_id("p") is not None


def test_an_untrained_encoder_is_no_baseline(intents: Splits, pairs: Splits, tmp_path: Path) -> None:
    encoder, budget = {"kind": "gru", **SMALL_RECURRENT}, {"epochs": 1, "batch_size": 8}
    classifier = recipe_of(encoder, baselines=True, budget=budget)
    task = {"head": {"task": "embed"}, "loss": {"name": "in_batch_negatives"}}
    embedder = recipe_of(encoder, baselines=True, budget=budget, **task)

    of_classifier = fine_tune(classifier, intents, runs=tmp_path / "c", resume=False, progress=Progress()).metrics
    of_embedder = fine_tune(embedder, pairs, runs=tmp_path / "e", resume=False, progress=Progress()).metrics

    assert list(_table(of_classifier["baselines"])) == ["tfidf_svm"]
    assert of_embedder["baselines"] == {}


def _table(value: object) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def _ask(folder: Path, manifest: Manifest, wishes: Mapping[str, Mapping[str, object]]) -> list[dict[str, Any]]:
    """What the application answers to `TEXTS`, by route and what is wished of it."""
    key = ModelKey(manifest.name, manifest.version)
    body = {"model": manifest.name, "texts": TEXTS, "truncate": "end"}

    async def run() -> list[httpx.Response]:
        engine = LocalEngine([load_model(folder, "cpu", lanes=1, setting="fp32")], lanes=1)
        engine.start()
        client = Client(create_app(Settings(), engine, Catalog.open(folder.parent.parent, [key])))
        try:
            return [await client.send("POST", path, json={**body, **wish}) for path, wish in wishes.items()]
        finally:
            await engine.close()

    responses = asyncio.run(run())
    assert [response.status_code for response in responses] == [200] * len(responses), responses[0].text
    return [response.json() for response in responses]


def _raw_scores(classified: dict[str, Any], manifest: Manifest) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The logits [B, C] in the manifest's order."""
    head = manifest.heads[0]
    assert isinstance(head, ClassifyHead)
    rows = [{one["label"]: one["score"] for one in answer["scores"]} for answer in classified["predictions"]]
    return np.array([[row[label] for label in head.labels] for row in rows], np.float32)
