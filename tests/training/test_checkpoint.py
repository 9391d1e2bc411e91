"""A checkpoint is whole or not there, and a damaged one is known."""

import hashlib
import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.checkpoint import (
    Checkpoint,
    DamagedCheckpointError,
    ForeignCheckpointError,
    Place,
    Tensors,
    clear,
    list_checkpoints,
    load,
    run_lock,
    save,
)
from training.errors import NotFiniteError, TrainingError
from training.rng import rng_state, seed_all, set_rng_state
from training.trend import Trend


def a_checkpoint(step: int = 7) -> Checkpoint:
    place = Place(
        step=step,
        epoch=1,
        batch=3,
        epoch_loss=0.1 + 0.2,
        epoch_rows=12,
        best_epoch=1,
        best_metric=1 / 3,
        trend=Trend([1 / 3, 2.0], 2 / 3, 1),
    )
    tensors = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor(0.5)}
    moments = {"0.step": torch.tensor(7.0), "0.exp_avg": torch.randn(2, 3)}
    best = {"weight": torch.ones(2, 3), "bias": torch.tensor(0.25)}
    parts = {"model": tensors, "optimizer": moments, "best": best}
    return Checkpoint(place, rng_state(), {"recipe seed": "7"}, parts)


def with_part(saved: Checkpoint, name: str, tensors: Tensors) -> Checkpoint:
    return replace(saved, parts={**saved.parts, name: tensors})


def test_what_is_loaded_equals_what_was_saved(tmp_path: Path) -> None:
    saved = a_checkpoint()

    found = load(save(tmp_path, saved))

    assert found.place == saved.place
    assert found.rng == saved.rng
    assert found.fingerprint == saved.fingerprint
    assert found.parts.keys() == saved.parts.keys()
    for name, before in saved.parts.items():
        after = found.parts[name]
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 30):
        save(tmp_path, a_checkpoint(step))

    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000030", "step-00000002"]


def test_the_best_weights_take_no_room_of_their_own_while_they_are_the_current_ones(tmp_path: Path) -> None:
    saved = a_checkpoint()

    path = save(tmp_path, with_part(saved, "best", saved.parts["model"]))

    assert (path / "best.safetensors").samefile(path / "model.safetensors")
    assert torch.equal(load(path).parts["best"]["weight"], saved.parts["model"]["weight"])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["cut", "flip", "missing"])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "best.safetensors", "state.json"])
def test_damage_is_known(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    path = save(tmp_path, a_checkpoint())
    damage(path / name)

    with pytest.raises(DamagedCheckpointError, match="step-00000007"):
        load(path)


def test_swapped_files_are_known(tmp_path: Path) -> None:
    path = save(tmp_path, a_checkpoint())
    (path / "optimizer.safetensors").rename(path / "spare")
    (path / "model.safetensors").rename(path / "optimizer.safetensors")
    (path / "spare").rename(path / "model.safetensors")

    with pytest.raises(DamagedCheckpointError, match="other bytes"):
        load(path)


def test_a_checkpoint_of_another_version_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    """Format 1 had no number, and other names for the optimiser's tensors: read as it is, it would be misread."""
    path = save(tmp_path, a_checkpoint())
    state = json.loads((path / "state.json").read_text())["state"]
    del state["format"]
    text = json.dumps(state, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    (path / "state.json").write_text(json.dumps({"sha256": digest, "state": state}))

    with pytest.raises(ForeignCheckpointError, match="format 1, of another version of encodery; this one reads 2"):
        load(path)


def test_a_weight_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    poisoned = with_part(a_checkpoint(), "model", {"weight": torch.tensor([1.0, float("nan")])})

    with pytest.raises(NotFiniteError, match="weight"):
        save(tmp_path, poisoned)

    assert list(tmp_path.iterdir()) == []


def test_a_half_written_checkpoint_is_not_listed_and_goes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / ".step-00000003.partial").mkdir()

    assert list_checkpoints(tmp_path) == []
    save(tmp_path, a_checkpoint(4))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004"]


def test_a_disk_that_refuses_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")

    with pytest.raises(TrainingError, match="cannot write a checkpoint"):
        save(tmp_path / "file", a_checkpoint())


def test_a_second_run_in_one_folder_is_refused_and_the_lock_ends_with_the_first(tmp_path: Path) -> None:
    refusal = f"process {os.getpid()} trains in {tmp_path}"
    for _ in range(2):
        with run_lock(tmp_path), pytest.raises(TrainingError, match=refusal), run_lock(tmp_path):
            raise AssertionError("both hold the lock")

    with run_lock(tmp_path):
        assert clear(tmp_path) == 0


def test_a_checkpoint_of_the_same_step_counts_until_the_newer_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run stopped between the last step of an epoch and its dev rows comes by the same step again."""
    save(tmp_path, a_checkpoint())
    newer = replace(a_checkpoint(), fingerprint={"recipe seed": "newer"})

    monkeypatch.setattr(Path, "rename", killed_at_the_second(Path.rename))
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, newer)
    monkeypatch.undo()

    (left,) = list_checkpoints(tmp_path)
    assert load(left).fingerprint == {"recipe seed": "7"}
    save(tmp_path, newer)
    assert [load(path).fingerprint["recipe seed"] for path in list_checkpoints(tmp_path)] == ["newer", "7"]


def killed_at_the_second(rename: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
    """`rename`, but the second time the process ends instead."""
    calls = []

    def once(source: Path, target: Path) -> Path:
        calls.append(source)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return rename(source, target)

    return once


def test_generators_go_on_from_where_they_stood() -> None:
    seed_all(3)
    random.gauss(0, 1)
    np.random.standard_normal()
    state = rng_state()
    drawn = random.random(), random.gauss(0, 1), float(np.random.standard_normal()), torch.randn(2).tolist()

    set_rng_state(state)

    again = random.random(), random.gauss(0, 1), float(np.random.standard_normal()), torch.randn(2).tolist()
    assert again == drawn
