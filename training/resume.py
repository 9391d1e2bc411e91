"""Where does a run go on?

From the newest whole checkpoint of this very run, or from the beginning – and it says which. A checkpoint of a run
with another recipe, other data or other weights is refused: going on from it would be neither run.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from app.bundle.manifest import Json
from training.checkpoint import (
    MODEL,
    Checkpoint,
    DamagedCheckpointError,
    ForeignCheckpointError,
    Place,
    clear,
    list_checkpoints,
    load,
    remove,
    set_aside,
)
from training.data.collate import reader_bytes
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.modeling import LoadedEncoder
from training.optim import Average, Stepper
from training.parallel import rng_states, set_rng_states
from training.progress import Progress
from training.recipe import Recipe

Tensors = Mapping[str, torch.Tensor]
# They change no weight on purpose: a finished run can be judged and exported in another way.
HARMLESS_TABLES = ("export.", "head.out_of_scope", "head.coverages")  # fitted after training
_MORE_HEAD = re.compile(r"more_heads\.\d+\.")
HARMLESS = {"description", "baselines", "probes", "threads", "budget.checkpoint_steps", "track"} | {
    "data.corpus",
    "data.slices",
}


def fingerprint(recipe: Recipe, splits: Splits, loaded: LoadedEncoder, more: Sequence[Splits] = ()) -> dict[str, str]:
    """What the weights of a run come from, by name, so that a difference can be named; `more`: of its other heads."""
    prints = {
        f"recipe {key}": json.dumps(value)
        for key, value in flat(recipe.model_dump(mode="json")).items()
        if key not in HARMLESS and not _MORE_HEAD.sub("", key).startswith(HARMLESS_TABLES)
    }
    owners = ["", *(f"{table.head.name} " for table in recipe.more_heads)]
    for owner, part in zip(owners, (splits, *more), strict=True):
        for name in ("train", "dev"):
            rows = [_plain(row) for row in getattr(part, name)]
            prints[f"{owner}{name} rows"] = _short_digest(json.dumps(rows, ensure_ascii=False).encode())
    weights = hashlib.sha256()
    for tensor in loaded.encoder.state_dict().values():
        weights.update(tensor.cpu().numpy().tobytes())
    prints["device"] = next(loaded.encoder.parameters()).device.type
    prints["encoder weights"] = weights.hexdigest()[:16]
    prints["tokenizer"] = _short_digest(reader_bytes(loaded.reader))
    return prints


def _plain(row: Row) -> Json:
    """A row in JSON, its numbers as their digest."""
    if row.vector is None:
        return asdict(row)
    return asdict(replace(row, vector=None)) | {"vector": _short_digest(row.vector.tobytes())}


def flat(table: Json, prefix: str = "") -> Json:
    """Nested tables as `table.key`, more heads as `more_heads.0.key`."""
    found: Json = {}
    for key, value in table.items():
        if key == "more_heads" and isinstance(value, list):
            value = {str(number): each for number, each in enumerate(value)}
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def _short_digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def start_afresh(folder: Path, progress: Progress) -> None:
    """Drop what an earlier run left: its checkpoints would be taken for this run's."""
    if dropped := clear(folder):
        progress.say(f"starting from the beginning; {dropped} checkpoints of an earlier run are dropped")


def find_checkpoint(folder: Path, fingerprint: Mapping[str, str], progress: Progress) -> Checkpoint | None:
    """The newest whole checkpoint of this very run; None when none was ever written.

    Those it passes over are named. Once a good one is found, damaged ones are removed and foreign ones set aside as
    `NAME.foreign`: they would stay the newest for ever.

    Raises:
        TrainingError: there are checkpoints and none of them will do: what is wrong with each.
    """
    paths, damaged, foreign, faults = list_checkpoints(folder), [], [], []
    for path in paths:
        try:
            found = load(path)
            _check_fingerprint(found.fingerprint, fingerprint)
        except DamagedCheckpointError as error:
            faults.append(f"{path.name} is damaged ({error})")
            damaged.append(path)
        except ForeignCheckpointError as error:
            faults.append(f"{path.name} belongs to another run: {error}")
            foreign.append(path)
        else:
            for fault in faults:
                progress.say(f"checkpoint {fault}; trying the one before it")
            remove(damaged)
            set_aside(foreign)
            progress.say(f"going on from {path.name}: epoch {found.place.epoch + 1}, batch {found.place.batch + 1}")
            return found
    if faults:
        raise TrainingError(
            f"no checkpoint in {folder} can be used: {'. '.join(faults)}. "
            "Put that back, or train without --resume to start from the beginning"
        )
    progress.say(f"no checkpoint in {folder}; starting from the beginning")
    return None


def snapshot(
    place: Place,
    fingerprint: Mapping[str, str],
    model: nn.Module,
    stepper: Stepper,
    average: Average | None,
    best: Tensors,
) -> Checkpoint:
    """All of a run's state as it is now. The tensors are the run's own, not copies."""
    parts: dict[str, Tensors] = {MODEL: model.state_dict(), "optimizer": stepper.tensors()}
    if average is not None:
        parts["average"] = average.tensors
    if scaling := stepper.scaling():
        parts["scaling"] = scaling
    return Checkpoint(place, rng_states(), dict(fingerprint), {**parts, "best": best})


def restore(
    found: Checkpoint | None, model: nn.Module, stepper: Stepper, average: Average | None
) -> tuple[Place, dict[str, torch.Tensor]]:
    """Put a checkpoint's state into all that moves and into the generators; returns its place and best weights."""
    if found is None:
        return Place(), {}
    model.load_state_dict(dict(found.parts[MODEL]))
    stepper.restore(found.parts["optimizer"], found.parts.get("scaling", {}))
    if average is not None:
        average.restore(found.parts["average"])
    set_rng_states(found.rng)
    device = next(model.parameters()).device
    return found.place, {name: tensor.to(device) for name, tensor in found.parts["best"].items()}


def _check_fingerprint(then: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises: ForeignCheckpointError: they differ, and in what."""
    nothing = "nothing"
    differing = [
        f"{name} was {then.get(name, nothing)}, is {now.get(name, nothing)}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    if differing:
        raise ForeignCheckpointError("; ".join(differing))
