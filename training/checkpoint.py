"""What is kept of a run, so that a killed one goes on as if nothing had happened?

A checkpoint is a folder `step-00000200/` with safetensors and `state.json`; nothing is pickled. It appears by rename
after every byte is on disk, so it is whole or not there; `state.json` holds the sha256 of all else and of itself, so
a damaged one is known and the one before it is taken. The newest two are kept.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from app.bundle.manifest import Json
from app.bundle.store import fsync_dir
from training.errors import NotFiniteError, TrainingError
from training.trend import Trend

KEEP = 2
REPLACED = ".replaced"
NAME = re.compile(rf"step-(?P<step>\d{{8,}})(?P<replaced>{re.escape(REPLACED)})?")
STATE_FILE = "state.json"
FORMAT = 2  # 1 had three files of tensors, the optimiser's by number
MODEL, SUFFIX = "model", ".safetensors"
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a run has come: the next batch is number `batch` of epoch `epoch`, both counted from 0."""

    step: int = 0  # optimiser steps done
    epoch: int = 0
    batch: int = 0
    epoch_loss: float = 0.0  # sum over the rows of this epoch so far
    epoch_rows: int = 0
    best_epoch: int | None = None  # counted from 1
    best_metric: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)  # one entry a finished epoch
    trend: Trend = field(default_factory=Trend)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All of a run's state.

    `parts` are tensors by name: "model", "optimizer", "best" (the model of the best epoch, empty before the first one
    ends) and, where the recipe has them, "average" and "scaling".
    """

    place: Place
    rng: Json
    fingerprint: dict[str, str]
    parts: Mapping[str, Tensors]


class DamagedCheckpointError(Exception):
    """A checkpoint's bytes are not what was written. The one before it may do."""


class ForeignCheckpointError(Exception):
    """A checkpoint is whole, but not of this run. The message says in what."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Be the only run in `folder`. The lock dies with its process, so a killed run leaves none behind.

    Raises:
        TrainingError: another process trains there; its id is named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:  # not "w": that would wipe out the id of the one who holds it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = f"process {pid}" if (pid := file.read().strip()) else "another process"
            raise TrainingError(f"{holder} trains in {folder}; wait for it or stop it") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `checkpoint` durably and drop all but the newest two.

    Raises:
        NotFiniteError: a weight is not a finite number; nothing is written.
        TrainingError: the disk refuses (full, read-only); checkpoints that stand are left as they are.
    """
    for name, tensor in checkpoint.parts[MODEL].items():
        if not bool(torch.isfinite(tensor).all()):
            raise NotFiniteError(f"after step {checkpoint.place.step} the weight {name} is not finite; lower optim.lr")
    final = folder / f"step-{checkpoint.place.step:08d}"
    partial = folder / f".{final.name}.partial"
    try:
        for leftover in folder.glob(".step-*.partial"):
            shutil.rmtree(leftover)
        partial.mkdir(parents=True)
        _write(partial, checkpoint)
        if final.exists():  # a run that was stopped between the last step of an epoch and its dev rows
            _step_aside(final)
        partial.rename(final)
        fsync_dir(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)  # a full disk needs the room
        raise TrainingError(f"cannot write a checkpoint to {folder}: {error}") from error
    remove(list_checkpoints(folder)[KEEP:])
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first."""
    found = {path: match for path in folder.glob("step-*") if (match := NAME.fullmatch(path.name))}
    return sorted(found, key=lambda path: (int(found[path]["step"]), found[path]["replaced"] is None), reverse=True)


def clear(folder: Path) -> int:
    """Remove every checkpoint, for a run that starts afresh. Returns how many there were."""
    found = list_checkpoints(folder)
    remove(found)
    return len(found)


def remove(paths: Sequence[Path]) -> None:
    """Remove these checkpoints."""
    for path in paths:
        shutil.rmtree(path)


def set_aside(paths: Sequence[Path]) -> None:
    """Keep these out of `list_checkpoints`, and leave it to their owner what becomes of them."""
    for path in paths:
        aside = path.with_name(f"{path.name}.foreign")
        if aside.exists():
            shutil.rmtree(aside)
        path.rename(aside)


def load(path: Path) -> Checkpoint:
    """The checkpoint in `path`.

    Raises:
        DamagedCheckpointError: a file is missing or has other bytes than were written.
        ForeignCheckpointError: another version of this program wrote it.
    """
    try:
        document = json.loads((path / STATE_FILE).read_bytes())
        state = document["state"]
        if document["sha256"] != _digest(_canonical(state)):
            raise DamagedCheckpointError(f"{path / STATE_FILE} has other bytes than were written")
        if (found := state.get("format", 1)) != FORMAT:
            raise ForeignCheckpointError(
                f"it has format {found}, of another version of encodery; this one reads {FORMAT}"
            )
        parts = {}
        for name, digest in state["files"].items():
            if _file_digest(path / name) != digest:
                raise DamagedCheckpointError(f"{path / name} has other bytes than were written")
            parts[name.removesuffix(SUFFIX)] = load_file(path / name)
        place = Place(**{**state["place"], "trend": Trend(**state["place"]["trend"])})
        return Checkpoint(place, state["rng"], state["fingerprint"], parts)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DamagedCheckpointError(f"{path} cannot be read: {error}") from error


def _step_aside(path: Path) -> None:
    """Make way for a newer checkpoint of the same step; the old one counts until that one is there."""
    aside = path.with_name(path.name + REPLACED)
    if aside.exists():
        shutil.rmtree(aside)
    path.rename(aside)


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    files: dict[str, str] = {}
    written: dict[Path, Tensors] = {}
    for name, tensors in checkpoint.parts.items():
        path = folder / f"{name}{SUFFIX}"
        twin = next((other for other, had in written.items() if tensors and _same(tensors, had)), None)
        if twin is not None:  # the best weights right after the best epoch: a quarter of the bytes less
            path.hardlink_to(twin)
        else:
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
            _fsync_file(path)
            written[path] = tensors
        files[path.name] = _file_digest(path)
    state = {
        "format": FORMAT,
        "files": files,
        "place": asdict(checkpoint.place),
        "rng": checkpoint.rng,
        "fingerprint": checkpoint.fingerprint,
    }
    (folder / STATE_FILE).write_bytes(_canonical({"sha256": _digest(_canonical(state)), "state": state}))
    _fsync_file(folder / STATE_FILE)
    fsync_dir(folder)


def _same(some: Tensors, others: Tensors) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[key], others[key]) for key in some)


def _canonical(value: object) -> bytes:
    """JSON that is the same bytes after a round trip."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
