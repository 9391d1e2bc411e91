"""Ask the service, in process, what a new bundle answers."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from app.engine.load import load_model
from app.engine.local import LocalEngine
from app.main import create_app
from app.serving.catalog import Catalog
from app.settings import Settings
from app.types import ModelKey
from tests.fakes import Client


def predictions(models: Path, name: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    """/classify over HTTP, of version 1."""
    (answer,) = answers(models, name, [("/classify", {"texts": list(texts)})])
    return cast("list[dict[str, Any]]", answer["predictions"])


def answers(models: Path, name: str, questions: Sequence[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """What version 1 answers over HTTP to each path and body."""
    key = ModelKey(name, 1)

    async def ask() -> list[dict[str, Any]]:
        store = models / "store"
        engine = LocalEngine([load_model(store / name / "1", "cpu", lanes=1)], lanes=1)
        engine.start()
        client = Client(create_app(Settings(models_dir=models), engine, Catalog.open(store, [key])))
        found = [await client.send("POST", path, json=body) for path, body in questions]
        await engine.close()
        assert all(answer.status_code == 200 for answer in found), [answer.text for answer in found]
        return [answer.json() for answer in found]

    return asyncio.run(ask())
