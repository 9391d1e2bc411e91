"""Which bundles are missing, and how are they made?

Asked at every start of the service, so nothing heavy is imported before there is work.
"""

import json
import os
import re
import tomllib
from pathlib import Path

from app.bundle.store import current, names
from training.errors import RecipeError
from training.progress import Progress
from training.recipe import load_recipe

VARIABLE = re.compile(r"\$\{([^}]*)\}")


def store_of(models: Path) -> Path:
    """Where bundles lie."""
    return models / "store"


def build(folder: Path, *, models: Path, progress: Progress) -> None:
    """A bundle for every recipe of `folder` whose name has no current version yet; one line each.

    A recipe that needs a `${VARIABLE}` which is not set is skipped: its data are not here.
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise RecipeError(f"{folder} holds no recipes (*.toml)")
    for path in paths:
        if unset := unset_variables(path):
            progress.say(f"{path.stem}: skipped; it needs {', '.join(unset)}, which is not set")
            continue
        name = load_recipe(path).name
        if name in names(store_of(models)):
            progress.say(f"{name}: version {current(store_of(models), name)} is there")
            continue
        progress.say(f"{name}: building from {path}")
        from training.run import train  # torch and its kin: seconds that a start without work need not take

        progress.say(f"{name}: built {train(path, models=models, progress=progress)}")


def unset_variables(path: Path) -> list[str]:
    """The `${VARIABLES}` in the values of a recipe that the environment lacks."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return []  # load_recipe says what is wrong
    used = VARIABLE.findall(json.dumps(raw, default=str))
    return sorted({f"${{{name}}}" for name in used if name not in os.environ})
