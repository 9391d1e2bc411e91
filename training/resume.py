"""Where does a run go on?

From the newest whole checkpoint of this very run, or from the beginning – and it says which. A checkpoint of a run
with another recipe, other data or other weights is refused: going on from it would be neither run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from app.bundle.manifest import Json
from training.checkpoint import Checkpoint, DamagedCheckpointError, Place, clear, list_checkpoints, load, remove
from training.data.rows import Splits
from training.errors import TrainingError
from training.modeling import LoadedEncoder
from training.progress import Progress
from training.recipe import Recipe
from training.rng import rng_state, set_rng_state

Tensors = Mapping[str, torch.Tensor]
# They change no weight on purpose: a finished run can be judged and exported in another way.
HARMLESS_TABLES = ("export.", "head.out_of_scope", "head.coverages")  # fitted after training
HARMLESS = {"description", "baselines", "probes", "threads", "budget.checkpoint_steps"}


def fingerprint(recipe: Recipe, splits: Splits, loaded: LoadedEncoder) -> dict[str, str]:
    """What the weights of a run come from, by name, so that a difference can be named."""
    prints = {
        f"recipe {key}": json.dumps(value)
        for key, value in _flat(recipe.model_dump(mode="json")).items()
        if key not in HARMLESS and not key.startswith(HARMLESS_TABLES)
    }
    for name in ("train", "dev"):
        rows = [asdict(row) for row in getattr(splits, name)]
        prints[f"{name} rows"] = _short_digest(json.dumps(rows, ensure_ascii=False).encode())
    weights = hashlib.sha256()
    for tensor in loaded.encoder.state_dict().values():
        weights.update(tensor.numpy().tobytes())
    prints["encoder weights"] = weights.hexdigest()[:16]
    prints["tokenizer"] = _short_digest(loaded.tokenizer.to_str().encode())
    return prints


def _flat(table: Json, prefix: str = "") -> Json:
    """Nested tables as `table.key`."""
    flat: Json = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _short_digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def start_afresh(folder: Path, progress: Progress) -> None:
    """Drop what an earlier run left: its checkpoints would be taken for this run's."""
    if dropped := clear(folder):
        progress.say(f"starting from the beginning; {dropped} checkpoints of an earlier run are dropped")


def find_checkpoint(folder: Path, fingerprint: Mapping[str, str], progress: Progress) -> Checkpoint | None:
    """The newest whole checkpoint of this very run; None when none was ever written. Damaged ones are removed once a
    whole one is found.

    Raises:
        TrainingError: all are damaged, or the run they belong to differs (and in what).
    """
    paths, damaged = list_checkpoints(folder), []
    for path in paths:
        try:
            found = load(path)
        except DamagedCheckpointError as error:
            progress.say(f"checkpoint {path.name} is damaged ({error}); trying the one before it")
            damaged.append(path)
            continue
        if differing := _differences(found.fingerprint, fingerprint):
            raise TrainingError(
                f"{path} belongs to another run; different: {'; '.join(differing)}. "
                "Put that back, or train without --resume to start from the beginning"
            )
        remove(damaged)  # or they would stay the newest for ever
        progress.say(f"going on from {path.name}: epoch {found.place.epoch + 1}, batch {found.place.batch + 1}")
        return found
    if paths:
        raise TrainingError(f"all checkpoints in {folder} are damaged; train without --resume to start afresh")
    progress.say(f"no checkpoint in {folder}; starting from the beginning")
    return None


def snapshot(
    place: Place, fingerprint: Mapping[str, str], model: nn.Module, optimizer: torch.optim.Optimizer, best: Tensors
) -> Checkpoint:
    """All of a run's state as it is now. The tensors are the run's own, not copies."""
    state = optimizer.state_dict()["state"]
    moments = {f"{index}.{key}": tensor for index, entry in state.items() for key, tensor in entry.items()}
    return Checkpoint(place, rng_state(), dict(fingerprint), dict(model.state_dict()), moments, dict(best))


def restore(
    found: Checkpoint | None, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Place, dict[str, torch.Tensor]]:
    """Put a checkpoint's state into the model, the optimiser and the generators; returns its place and best weights.

    The optimiser's groups come from the recipe, which the fingerprint covers; only its moments are restored.
    """
    if found is None:
        return Place(), {}
    model.load_state_dict(dict(found.model))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in found.optimizer.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    set_rng_state(found.rng)
    return found.place, dict(found.best)


def _differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    nothing = "nothing"
    return [
        f"{name} was {then.get(name, nothing)}, is {now.get(name, nothing)}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
