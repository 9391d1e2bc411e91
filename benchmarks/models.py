"""Which models does a service under measurement hold? The one that is measured, and no other.

A pinned plan is pinned for every model of a service, and another model may not have it; and what is loaded beside takes
time and memory. The choice of a plan is kept there as in any folder of models, so that only the first start measures.
"""

import hashlib
from pathlib import Path

from app.bundle.store import current
from benchmarks.machine import ROOT

FOLDER = ROOT / "build" / "benchmarks" / "models"


def alone(models_dir: Path, model: str) -> Path:
    """A folder of models that has `model` of `models_dir` and nothing else.

    Raises:
        BundleError: there is no such model.
    """
    source = (models_dir / "store" / model).resolve()
    current(source.parent, model)
    folder = FOLDER / f"{model}-{hashlib.sha256(str(source).encode()).hexdigest()[:8]}"
    link = folder / "store" / model
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(source, target_is_directory=True)
    return folder
