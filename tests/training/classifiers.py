"""Tiny classifiers with random weights that transformers has saved, and what the application answers from a bundle."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from app.bundle.manifest import ClassifyHead
from app.bundle.open import open_bundle
from app.engine.load import load_model
from app.engine.local import LocalEngine
from app.main import create_app
from app.serving.catalog import Catalog
from app.settings import Settings
from app.types import ModelKey
from tests.fakes import Client
from tests.training.families import MAX_TOKENS, plain_wordpiece, save_family

Floats = NDArray[np.float32]

TEXTS = ["switch on the lamp", "", "Stop the KETTLE!", "turn off the garden pump " * 20, "東京 ☕"]


def save_classifier(family: str, folder: Path, labels: Mapping[int, str], **config: object) -> Path:
    """A classifier of `labels` over the family's encoder. Biases are drawn too: transformers starts them at 0."""
    save_family(family, folder)
    settings = AutoConfig.from_pretrained(folder, id2label=dict(labels), **config)
    torch.manual_seed(9)
    model = AutoModelForSequenceClassification.from_config(settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder


def logits_of(folder: Path) -> Floats:
    """What transformers gives to `TEXTS` [B, C], one at a time and without padding, with attention written out."""
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation="eager"
    ).eval()
    tokenizer = plain_wordpiece()
    rows = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        ids = ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]
        with torch.no_grad():
            rows.append(model(input_ids=torch.tensor([ids])).logits.numpy())
    return np.concatenate(rows)


def ask(folder: Path, wishes: Mapping[str, Mapping[str, object]], texts: Sequence[str] = TEXTS) -> list[dict[str, Any]]:
    """What the application answers to `texts` from the bundle in `folder`, by route and what is wished of it."""
    manifest = open_bundle(folder).manifest
    key = ModelKey(manifest.name, manifest.version)
    body = {"texts": list(texts), "truncate": "end", "model": manifest.name}

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


def scores_of(answer: Mapping[str, Any], head: ClassifyHead) -> Floats:
    """The scores [B, C] of an answer of /classify in the head's order."""
    rows = [{one["label"]: one["score"] for one in prediction["scores"]} for prediction in answer["predictions"]]
    return np.array([[row[label] for label in head.labels] for row in rows], np.float32)
