import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.service import ROOT


@pytest.fixture(scope="session")
def default_store() -> Path:
    """The bundles that `make serve` builds, made now if nobody has yet."""
    command = [sys.executable, "-m", "training", "build", "models/recipes"]
    subprocess.run(command, cwd=ROOT, check=True)
    return ROOT / "models" / "store"
