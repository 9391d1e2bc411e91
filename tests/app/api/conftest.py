from collections.abc import Callable
from pathlib import Path

import pytest

from app.main import create_app
from app.serving.catalog import Catalog
from app.settings import Limits, Settings
from tests.fakes import Client, FakeEngine
from tests.stores import outputs_of, write_store

SETTINGS = Settings(limits=Limits(body_bytes=4096, texts=8, text_bytes=1024, request_tokens=64))

MakeClient = Callable[..., Client]


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Five models, one of each kind, opened from disk."""
    store: Path = tmp_path_factory.mktemp("models") / "store"
    return Catalog.open(store, write_store(store))


@pytest.fixture(scope="session")
def make_client(catalog: Catalog) -> MakeClient:
    """A client of an application over this engine, or over one that computes."""

    def make(engine: FakeEngine | None = None, settings: Settings = SETTINGS) -> Client:
        return Client(create_app(settings, engine or FakeEngine(outputs_of()), catalog))

    return make


@pytest.fixture(scope="session")
def client(make_client: MakeClient) -> Client:
    """A client of the whole application over an engine that computes."""
    return make_client()
