"""Encoders of numbers, from the rows of a recipe to the answers of the service."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from app.bundle.golden import load_golden
from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, EmbedHead, Manifest
from app.bundle.open import open_bundle
from app.engine.load import load_model
from app.engine.local import LocalEngine
from app.main import create_app
from app.serving.catalog import Catalog
from app.settings import Settings
from app.types import ModelKey
from tests.fakes import Client
from tests.training.scratch.numbers import ALL, MLP, OFFSETS, SCALES, WIDTH, fresh, number_splits, some_rows
from tests.training.scratch.tables import SMALL_RECURRENT
from tests.training.scratch.test_served import recipe_of
from training.data.rows import Row
from training.errors import GateError, TrainingError
from training.evaluate import predict
from training.evaluation.mistakes import MISTAKES_FILE
from training.export.onnx import export_graph, torchscript
from training.export.parity import Reference, Shipped, check_parity
from training.export.publish import publish
from training.export.vectors import hard_vectors
from training.finetune import DATA_REPORT, Tuned, fine_tune
from training.modeling import ClassifierHead, Model
from training.progress import Progress
from training.recipe import Recipe
from training.resume import fingerprint
from training.run import finished

CLOSE = 1e-5
LEARNED = 0.75
SERVED: Mapping[str, Mapping[str, Any]] = {
    "mlp": MLP,
    "gru": {"kind": "gru", **SMALL_RECURRENT, "layers": 1},
}
HEADS: list[ClassifyHead | EmbedHead] = [
    ClassifyHead(name="intent", output="logits_intent", problem_type="single_label", labels=["a", "b", "c"])
]


def numbers_recipe(encoder: Mapping[str, Any], **tables: object) -> Recipe:
    data = {"source": "files", "train": "unused.jsonl", "columns": {"vector": "numbers"}}
    return recipe_of(encoder, **{"data": data, "export": {}, **tables})


def tune(encoder: Mapping[str, Any], folder: Path, tables: Mapping[str, object], *, resume: bool = False) -> Tuned:
    splits = number_splits(sequences=encoder["kind"] != "mlp")
    recipe = numbers_recipe(encoder, **tables)
    return fine_tune(recipe, splits, runs=folder, resume=resume, progress=Progress())


@pytest.mark.slow
@pytest.mark.parametrize("encoder", SERVED.values(), ids=SERVED)
def test_trained_on_numbers_and_answered_as_in_torch(
    encoder: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = encoder["kind"] != "mlp"
    if sequences:  # dynamo takes some seconds for each layer, and test_served.py has it for texts
        monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    tuned = tune(encoder, tmp_path / "runs", {"baselines": True})

    folder = publish(finished(numbers_recipe(encoder), tuned), tmp_path / "store", progress=Progress())

    manifest = open_bundle(folder).manifest
    assert (manifest.modality, manifest.vectors) == ("vectors", tuned.loaded.reader)
    assert [file.path for file in manifest.files if file.role in ("model", "tokenizer")] == ["model.fp32.onnx"]
    assert manifest.training["refused"] == dict.fromkeys(
        ("int8 for CPUs", "packed fp16 for CUDA"), "it is made for texts alone"
    )
    accuracy, baselines = tuned.metrics["accuracy"], tuned.metrics["baselines"]
    assert isinstance(accuracy, float)
    assert accuracy >= LEARNED
    assert isinstance(baselines, dict)
    assert list(baselines) == ([] if sequences else ["linear_svm"]), "sequences of several lengths have no columns"
    rows = some_rows(9, sequences=sequences, seed=12)
    expected = predict(tuned.model, tuned.loaded.reader, rows, max_tokens=tuned.loaded.max_tokens, pad_id=0)
    wishes = {"/embed": {"normalize": False}, "/classify": {"raw_scores": True}}
    embedded, classified = _ask(folder, manifest, [row.tolist() for row in rows], wishes)
    assert np.abs(np.array(embedded["embeddings"]) - expected[EMBEDDING_OUTPUT]).max() < CLOSE
    head = manifest.heads[0]
    assert isinstance(head, ClassifyHead)
    scores = [{one["label"]: one["score"] for one in answer["scores"]} for answer in classified["predictions"]]
    found = np.array([[row[label] for label in head.labels] for row in scores])
    assert np.abs(found - expected["logits_intent"]).max() < CLOSE
    _check_golden(folder, sequences)
    assert "which it standardises itself" in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def _check_golden(folder: Path, sequences: bool) -> None:
    lines = (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    rows = load_golden(open_bundle(folder)).vectors
    assert len(lines) == len(rows) >= 32
    raw = json.loads(lines[0])["vectors"]
    assert np.array(raw).ndim == (2 if sequences else 1)
    assert len({len(row) for row in rows}) == (1 if not sequences else len({len(row) for row in rows}))
    assert max(len(row) for row in rows) == open_bundle(folder).manifest.max_tokens


def _ask(
    folder: Path, manifest: Manifest, rows: list[object], wishes: Mapping[str, Mapping[str, object]]
) -> list[dict[str, Any]]:
    key, body = ModelKey(manifest.name, manifest.version), {"model": manifest.name, "vectors": rows}

    async def run() -> list[httpx.Response]:
        engine = LocalEngine([load_model(folder, "cpu", lanes=1)], lanes=1)
        engine.start()
        client = Client(create_app(Settings(), engine, Catalog.open(folder.parent.parent, [key])))
        try:
            return [await client.send("POST", path, json={**body, **wish}) for path, wish in wishes.items()]
        finally:
            await engine.close()

    responses = asyncio.run(run())
    assert [response.status_code for response in responses] == [200] * len(responses), responses[0].text
    return [response.json() for response in responses]


def _exported(raw: Mapping[str, Any]) -> tuple[Reference, Shipped]:
    """By the quickest exporter."""
    loaded = fresh(raw)
    model = Model(loaded.encoder, {"intent": ClassifierHead(loaded.encoder.width, 3, 0.1)}).eval()
    graph = export_graph(model, torchscript, max_tokens=loaded.max_tokens)
    return Reference(model, loaded.reader, loaded.max_tokens, loaded.pad_id), Shipped(graph.data, None, HEADS)


@pytest.mark.parametrize("raw", ALL.values(), ids=ALL)
def test_every_kind_passes_the_gate(raw: Mapping[str, Any]) -> None:
    reference, shipped = _exported(raw)

    parity = check_parity(reference, shipped)

    assert parity.vector_max_abs_diff is not None
    assert parity.vector_max_abs_diff < CLOSE
    assert parity.rows > 60


@pytest.mark.parametrize(("raw", "rule"), [(MLP, "G04-vectors"), (SERVED["gru"], "G04-vectors")], ids=SERVED)
def test_a_graph_that_standardises_otherwise_is_refused(raw: Mapping[str, Any], rule: str) -> None:
    """One standard deviation of the five is 1 % off."""
    reference, shipped = _exported(raw)
    model = onnx.load_model_from_string(shipped.graph)
    tensor = next(
        one for one in model.graph.initializer
        if one.dims == [WIDTH] and np.array_equal(numpy_helper.to_array(one), reference.reader.std)  # type: ignore[union-attr]
    )  # fmt: skip
    changed = numpy_helper.to_array(tensor).copy()
    changed[0] *= 1.01
    tensor.raw_data = changed.tobytes()

    with pytest.raises(GateError, match=rule):
        check_parity(reference, replace(shipped, graph=model.SerializeToString()))


def test_golden_rows_have_every_length_and_are_finite() -> None:
    loaded = fresh(SERVED["gru"])
    like = loaded.encoder.vectors
    assert like is not None

    rows = hard_vectors(like, loaded.max_tokens)

    assert len(rows) >= 32
    assert {1, 2, 3, 5, 8, 13, 21, 24} == {len(row) for row in rows}
    assert all(np.isfinite(row).all() for row in rows)
    assert len({row.tobytes() for row in rows}) == len(rows)


def test_a_run_that_is_done_is_taken_up_again(tmp_path: Path) -> None:
    budget = {"budget": {"epochs": 2, "batch_size": 8}}
    first = tune(MLP, tmp_path, budget)

    again = tune(MLP, tmp_path, budget, resume=True)

    state = first.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in again.model.state_dict().items())
    assert again.metrics == first.metrics


def test_a_checkpoint_of_other_numbers_is_of_another_run(tmp_path: Path) -> None:
    budget = {"budget": {"epochs": 1, "batch_size": 8}}
    tune(MLP, tmp_path, budget)
    splits = number_splits(sequences=False)
    vector = splits.train[0].vector
    assert vector is not None
    changed = replace(splits, train=[replace(splits.train[0], vector=vector * 1.001), *splits.train[1:]])

    with pytest.raises(TrainingError, match="belongs to another run"):
        fine_tune(numbers_recipe(MLP, **budget), changed, runs=tmp_path, resume=True, progress=Progress())


def test_the_fingerprint_holds_no_numbers() -> None:
    prints = fingerprint(numbers_recipe(MLP), number_splits(sequences=False), fresh(MLP))

    assert len(prints["train rows"]) == 16
    assert (
        prints["tokenizer"]
        != fingerprint(numbers_recipe(MLP), number_splits(sequences=False), fresh({**SERVED["gru"]}))["tokenizer"]
    )


def test_report_and_mistakes_do_without_texts(tmp_path: Path) -> None:
    tune(MLP, tmp_path, {"budget": {"epochs": 1, "batch_size": 48}, "optim": {"lr": 1e-9}})

    page = (tmp_path / DATA_REPORT / "data.md").read_text(encoding="utf-8")
    mistakes = [json.loads(line) for line in (tmp_path / MISTAKES_FILE).read_text(encoding="utf-8").splitlines()]
    assert "Every row was read and is numbers" in page
    assert "nearly the same" not in page, "nothing looks for rows that are nearly the same"
    assert mistakes
    assert {key for line in mistakes for key in line} == {"where", "label", "answer", "score", "score_of_label"}


@pytest.mark.parametrize("problem_type", ["multi_label", "regression"])
def test_numbers_under_several_labels_or_values(
    problem_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    splits = number_splits(sequences=False)

    def changed(row: Row) -> Row:
        if problem_type == "regression":
            return replace(row, label=None, value=5.0 if row.label == "high" else -5.0)
        return replace(row, label=None, labels=("any", "high") if row.label == "high" else ("any",))

    train, dev, test = ([changed(row) for row in rows] for rows in (splits.train, splits.dev, splits.test))
    labels = ["any", "high"] if problem_type == "multi_label" else []
    splits = replace(splits, train=train, dev=dev, test=test, labels=labels)
    loss = {"name": "mse" if problem_type == "regression" else "binary_cross_entropy"}
    head = {"task": "classify", "name": "intent", "problem_type": problem_type}
    recipe = numbers_recipe(MLP, head=head, loss=loss)

    tuned = fine_tune(recipe, splits, runs=tmp_path / "runs", resume=False, progress=Progress())
    folder = publish(finished(recipe, tuned), tmp_path / "store", progress=Progress())

    answers = _ask(
        folder,
        open_bundle(folder).manifest,
        [(OFFSETS + SCALES).tolist(), (OFFSETS - SCALES).tolist()],
        {"/classify": {}},
    )
    high, low = answers[0]["predictions"]
    if problem_type == "regression":
        assert high["value"] > 0 > low["value"]
    else:
        assert (sorted(high["labels"]), low["labels"]) == (["any", "high"], ["any"])
    assert "text" not in json.loads((tmp_path / "runs" / MISTAKES_FILE).read_text(encoding="utf-8").splitlines()[0])
