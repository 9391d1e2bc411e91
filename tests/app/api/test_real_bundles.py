"""The same application over real graphs: what a caller reads is what the torch model gave at the export."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.bundle.golden import GoldenRows, load_golden
from app.bundle.manifest import ClassifyHead
from app.bundle.open import open_bundle
from app.bundle.scoring import probabilities, unit
from app.bundle.store import bundle_dir, current
from app.engine.load import load_model
from app.engine.local import LocalEngine
from app.main import create_app
from app.serving.catalog import Catalog
from app.settings import Settings
from app.types import ModelKey
from tests.fakes import Client

STORE = Path(__file__).parents[2] / "data" / "store"
CLOSE = 1e-4  # unit vectors and probabilities; the tolerance of the golden files themselves


def ask(key: ModelKey, path: str, bodies: Sequence[Mapping[str, object]]) -> list[httpx.Response]:
    """Answers to requests that are sent at the same time."""

    async def run() -> list[httpx.Response]:
        engine = LocalEngine([load_model(bundle_dir(STORE, key.name, key.version), "cpu", lanes=2)], lanes=2)
        engine.start()
        client = Client(create_app(Settings(), engine, Catalog.open(STORE, [key])))
        try:
            return await asyncio.gather(*(client.send("POST", path, json=body) for body in bodies))
        finally:
            await engine.close()

    return asyncio.run(run())


def opened(name: str) -> tuple[ModelKey, GoldenRows]:
    key = ModelKey(name, current(STORE, name))
    return key, load_golden(open_bundle(bundle_dir(STORE, key.name, key.version)))


@pytest.mark.parametrize("together", [True, False], ids=["one request", "a request for each text"])
def test_vectors_are_those_of_the_torch_model(together: bool) -> None:
    key, golden = opened("tiny-encoder")
    groups = [golden.texts] if together else [[text] for text in golden.texts]

    responses = ask(key, "/embed", [{"texts": texts, "truncate": "end"} for texts in groups])

    vectors = np.array([vector for response in responses for vector in response.json()["embeddings"]])
    assert np.abs(vectors - unit(golden.outputs["sentence_embedding"])).max() < CLOSE


def test_scores_are_those_of_the_torch_model() -> None:
    key, golden = opened("tiny-classifier")
    head = open_bundle(bundle_dir(STORE, key.name, key.version)).manifest.heads[0]
    assert isinstance(head, ClassifyHead)
    everything = {"texts": golden.texts, "truncate": "end", "top_k": len(head.labels)}

    (response,) = ask(key, "/classify", [everything])

    scores = [
        {score["label"]: score["score"] for score in prediction["scores"]}
        for prediction in response.json()["predictions"]
    ]
    found = np.array([[row[label] for label in head.labels] for row in scores])
    assert np.abs(found - probabilities(head, golden.outputs[head.output])).max() < CLOSE
