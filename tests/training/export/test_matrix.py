"""Every pretrained family, from its folder to the answer of the service.

A head is trained for two steps, the model goes out by the way that wins, through the gate into a bundle, and the
application answers `/embed` and `/classify` from it as transformers does, loaded anew from the trained weights and fed
one text at a time. The fused operators of each family are asserted: a version of a library that loses one shows here.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel

from app.bundle.manifest import Manifest
from app.bundle.open import open_bundle
from app.bundle.packed import PACKED_FILE
from app.bundle.scoring import unit
from app.engine.load import load_model
from app.engine.local import LocalEngine
from app.main import create_app
from app.serving.catalog import Catalog
from app.settings import Settings
from app.types import ModelKey
from tests.fakes import Client
from tests.training.families import FAMILIES, HIDDEN, MAX_TOKENS, plain_wordpiece, save_family
from training.data.rows import Splits
from training.export.packed.families import FAMILIES as PACKED_FAMILIES
from training.export.publish import publish
from training.export.variants import MAKERS
from training.finetune import fine_tune
from training.progress import Progress
from training.recipe import Recipe
from training.run import finished, import_encoder

Floats = NDArray[np.float32]

CLOSE = 1e-5  # of any value of a unit vector
LOGITS_CLOSE = 1e-4
TEXTS = ["switch on the lamp", "", "Stop the KETTLE!", "turn off the garden pump " * 20, "東京 ☕"]
EXPECTED: Mapping[str, tuple[str, Mapping[str, int]]] = {
    "bert": ("dynamo + ort_fusions", {"Attention": 2, "BiasGelu": 2, "SkipLayerNormalization": 4}),
    "roberta": ("dynamo + ort_fusions", {"Attention": 2, "BiasGelu": 2, "SkipLayerNormalization": 5}),
    "xlm-roberta": ("dynamo + ort_fusions", {"Attention": 2, "BiasGelu": 2, "SkipLayerNormalization": 5}),
    "distilbert": ("dynamo + ort_fusions", {"Attention": 2, "BiasGelu": 2, "SkipLayerNormalization": 4}),
    "mpnet": ("dynamo + ort_fusions", {"BiasGelu": 2, "FusedMatMul": 2, "SkipLayerNormalization": 5}),
    "deberta-v2": ("dynamo + ort_fusions", {"BiasGelu": 2, "FusedMatMul": 4, "SkipLayerNormalization": 5}),
    "deberta-v3": ("dynamo + ort_fusions", {"BiasGelu": 2, "FusedMatMul": 4, "SkipLayerNormalization": 4}),
    "modernbert": ("dynamo + ort_fusions", {"MultiHeadAttention": 3}),
}


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_family_trains_and_answers_as_in_transformers(family: str, intents: Splits, tmp_path: Path) -> None:
    recipe = _recipe(save_family(family, tmp_path / family))
    tuned = fine_tune(recipe, intents, runs=tmp_path / "runs", resume=False, progress=Progress())

    folder = publish(finished(recipe, tuned), tmp_path / "store", progress=Progress())

    manifest = open_bundle(folder).manifest
    assert (manifest.training["exporter"], manifest.fused_ops["model.fp32.onnx"]) == EXPECTED[family]
    tuned.loaded.encoder.trunk.save_pretrained(tmp_path / "trained")
    vectors_BD = _by_transformers(tmp_path / "trained", tuned.loaded.tokenizer)
    logits_BC = tuned.model.heads["logits_intent"](torch.from_numpy(vectors_BD)).detach().numpy()
    embedded, classified = _ask(folder, manifest, {"/embed": {"normalize": True}, "/classify": {"raw_scores": True}})
    unit_BD = unit(vectors_BD)
    assert np.abs(np.array(embedded["embeddings"]) - unit_BD).max() < CLOSE
    assert np.abs(_raw_scores(classified, manifest) - logits_BC).max() < LOGITS_CLOSE
    assert (unit_BD @ unit_BD.T - np.eye(len(TEXTS))).max() < 0.999  # the texts can be told apart at all


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_family_without_a_head_is_imported(family: str, tmp_path: Path) -> None:
    """With its int8 pair, and the packed graph where the family has one."""
    source = save_family(family, tmp_path / family)

    folder = import_encoder(str(source), models=tmp_path, progress=Progress())

    manifest = open_bundle(folder).manifest
    assert manifest.fused_ops["model.fp32.onnx"] == EXPECTED[family][1]
    packed = {PACKED_FILE} if type(FAMILIES[family]()).__name__ in PACKED_FAMILIES else set()
    assert set(manifest.parity) == {"model.fp32.onnx", "model.int8.xml"} | packed
    (embedded,) = _ask(folder, manifest, {"/embed": {"normalize": True}})
    vectors_BD = _by_transformers(source, plain_wordpiece())
    assert np.abs(np.array(embedded["embeddings"]) - unit(vectors_BD)).max() < CLOSE


def _recipe(folder: Path) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "tiny",
            "encoder": {"source": str(folder)},
            "head": {"task": "classify", "name": "intent"},
            "data": {"source": "files", "train": "unused.jsonl"},
            "loss": {"name": "cross_entropy"},
            "budget": {"epochs": 1, "batch_size": 12},
            "export": {"int8": False, "packed": False},
        }
    )


def _by_transformers(folder: Path, tokenizer: Tokenizer) -> Floats:
    """The mean vector [B, D] of each text, without padding and with attention written out."""
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    vectors = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        ids = ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]
        with torch.no_grad():
            vectors.append(model(input_ids=torch.tensor([ids])).last_hidden_state.mean(dim=1).numpy())
    return np.concatenate(vectors)


def _ask(folder: Path, manifest: Manifest, wishes: Mapping[str, Mapping[str, object]]) -> list[dict[str, Any]]:
    """What the application answers to `TEXTS`, by route and what is wished of it."""
    key = ModelKey(manifest.name, manifest.version)
    body = {"texts": TEXTS, "truncate": "end", "model": manifest.name}

    async def run() -> list[httpx.Response]:
        engine = LocalEngine([load_model(folder, "cpu", lanes=1, setting="fp32")], lanes=1)
        engine.start()
        client = Client(create_app(Settings(), engine, Catalog.open(folder.parent.parent, [key])))
        try:
            return [await client.send("POST", path, json={**body, **wish}) for path, wish in wishes.items()]
        finally:
            await engine.close()

    return [response.json() for response in asyncio.run(run())]


def _raw_scores(classified: dict[str, Any], manifest: Manifest) -> Floats:
    """The logits [B, C] in the manifest's order."""
    head = manifest.heads[0]
    assert head.task == "classify"
    rows = [{one["label"]: one["score"] for one in answer["scores"]} for answer in classified["predictions"]]
    return np.array([[row[label] for label in head.labels] for row in rows], np.float32)


@pytest.mark.long
def test_folder_of_sentence_transformers_is_served_with_its_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poolings joined, two products and a norm: all of it in the graph, and the packed graph refused."""
    from tests.training.sentence_folders import NORMALIZE, dense, save_folder, vectors_of

    monkeypatch.setattr("training.export.variants.MAKERS", MAKERS[1:])
    modules = [dense(2 * HIDDEN, 24, nn.Tanh()), NORMALIZE, dense(24, 16, nn.Identity(), bias=False), NORMALIZE]
    bert = save_family("bert", tmp_path / "bert")
    source = save_folder(tmp_path / "source", bert, pooling=["weightedmean", "lasttoken"], after=modules)

    folder = import_encoder(str(source), models=tmp_path, progress=Progress(), name="folder")

    manifest = open_bundle(folder).manifest
    assert (manifest.pooling, manifest.trunk.hidden) == (["weightedmean", "lasttoken"], HIDDEN)
    assert manifest.training["after_pooling"] == ["Dense(64, 24, Tanh)", "Normalize", "Dense(24, 16, Identity)"]
    assert manifest.training["refused"] == {
        "packed fp16 for CUDA": "weightedmean+lasttoken pooling has no packed graph; mean and cls have one"
    }
    assert manifest.fused_ops["model.fp32.onnx"] == EXPECTED["bert"][1]
    (embedded,) = _ask(folder, manifest, {"/embed": {}})
    assert np.abs(np.array(embedded["embeddings"]) - vectors_of(source, TEXTS)).max() < CLOSE
