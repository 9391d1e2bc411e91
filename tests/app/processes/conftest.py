import pytest

from app.serving.catalog import Catalog
from tests.app.processes.front_end import open_catalog


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Five models, one of each kind, opened from disk."""
    return open_catalog(tmp_path_factory.mktemp("models"))
