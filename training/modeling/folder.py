"""Which modules does a folder hold, and where do their files lie?

`modules.json` is sentence-transformers' list of modules, which run one after the other: a Transformer, Pooling over its
token states, and what makes another vector of that one. A folder without it is transformers' own: a Transformer alone.
What cannot be kept is refused by name: a module that is dropped silently gives other vectors.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from app.bundle.manifest import Json
from training.errors import TrainingError

MODULES_FILE = "modules.json"
OWN_CLASSES = "sentence_transformers."  # a class of anybody else would be code of the source's
AFTER_POOLING = ("Dense", "LayerNorm", "Dropout", "Normalize")
SUPPORTED = ("Transformer", "Pooling", *AFTER_POOLING)
VECTOR = "sentence_embedding"  # what sentence-transformers calls the pooled vector


@dataclass(frozen=True, slots=True)
class ModuleFolder:
    """A module by the name of its class, and where its files lie."""

    kind: str
    path: Path


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """The modules of a source. `pooling` is None where it does not say.

    `after_pooling` is in order of use, without Dropout, which is for training and every head has its own, and without
    the Normalize at the end, which `normalize` tells.
    """

    transformer: Path
    pooling: Path | None
    after_pooling: tuple[ModuleFolder, ...]
    normalize: bool


def read_folder(folder: Path) -> ModelFolder:
    """The modules in `folder`.

    Raises:
        TrainingError: one that is not supported, or an order that gives no vector a text.
    """
    path = folder / MODULES_FILE
    if not path.is_file():
        return ModelFolder(folder, None, (), normalize=False)
    modules = _read_modules(path)
    kinds = [module.kind for module in modules]
    if unknown := [kind for kind in kinds if kind not in SUPPORTED]:
        raise TrainingError(
            f"encoder.source: {path} has the modules {', '.join(unknown)}, which cannot be exported; "
            f"supported are {', '.join(SUPPORTED)}"
        )
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= set(AFTER_POOLING):
        raise TrainingError(
            f"encoder.source: {path} has {', '.join(kinds) or 'no modules'}; supported is Transformer, Pooling, then "
            f"any of {', '.join(AFTER_POOLING)}"
        )
    after = [module for module in modules[2:] if module.kind != "Dropout"]
    for module in after:
        _check_reads_the_vector(module)
    last = len(after)
    while last and after[last - 1].kind == "Normalize":
        last -= 1
    return ModelFolder(modules[0].path, modules[1].path, tuple(after[:last]), normalize=last < len(after))


def read_json(path: Path) -> Json:
    """The object in `path`, empty when there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"encoder.source: {path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise TrainingError(f"encoder.source: {path} is not a JSON object")
    return value


def _read_modules(path: Path) -> list[ModuleFolder]:
    try:
        found = [(str(one["type"]), Path(str(one["path"]))) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"encoder.source: {path} cannot be read: {error!r}") from error
    for name, place in found:
        if not name.startswith(OWN_CLASSES):
            raise TrainingError(
                f"encoder.source: {path} has {name}, a module of the source's own; its code is never run"
            )
        if place.is_absolute() or ".." in place.parts:
            raise TrainingError(f"encoder.source: {path} has {place}, which is not inside its folder")
    return [ModuleFolder(name.rsplit(".", 1)[-1], path.parent / place) for name, place in found]


def _check_reads_the_vector(module: ModuleFolder) -> None:
    """Not the states of tokens, as in models that give a vector a token."""
    config = read_json(module.path / "config.json")
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, VECTOR):
            raise TrainingError(
                f"encoder.source: {module.path} has {key} {config[key]!r}; supported is {VECTOR!r}, one vector a text"
            )
