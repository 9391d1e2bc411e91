"""What the writer writes, the reader takes – whole, or not at all."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bundle.errors import BundleError
from app.bundle.manifest import BundleFile, Manifest
from app.bundle.open import open_bundle
from app.bundle.store import current, names, versions
from app.bundle.verify import verify
from tests.contract import writing
from tests.contract.bundles import CLASSIFIER, STORE, copy_of
from tests.contract.writing import NAME, new_files, write_again
from training.export.bundle import NewFile, write_bundle

ROOT = Path(__file__).parents[2]
FILES = [file.path for file in open_bundle(STORE / CLASSIFIER / "1").manifest.files]


def test_written_bundle_is_read_as_it_was_given(tmp_path: Path) -> None:
    given_files = new_files(verify(STORE / CLASSIFIER / "1"))

    folder = write_again(tmp_path)

    assert folder == tmp_path / NAME / "1"
    assert new_files(verify(folder)) == given_files
    assert (names(tmp_path), current(tmp_path, NAME)) == ([NAME], 1)


def test_versions_count_up_and_the_newest_serves(tmp_path: Path) -> None:
    folders = [write_again(tmp_path) for _ in range(3)]

    assert [folder.name for folder in folders] == ["1", "2", "3"]
    assert (versions(tmp_path, NAME), current(tmp_path, NAME)) == ([1, 2, 3], 3)


def test_a_version_number_is_not_used_again_while_a_later_one_exists(tmp_path: Path) -> None:
    copy_of(CLASSIFIER, tmp_path).rename(tmp_path / CLASSIFIER / "7")

    assert write_again(tmp_path).name == "8"


def test_two_writers_at_once_get_different_versions(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: write_again(tmp_path), range(4)))

    assert sorted(folder.name for folder in folders) == ["1", "2", "3", "4"]
    assert [verify(folder).manifest.version for folder in sorted(folders)] == [1, 2, 3, 4]


def test_a_refused_bundle_leaves_nothing(tmp_path: Path) -> None:
    write_again(tmp_path)
    source = verify(STORE / CLASSIFIER / "1")
    files = [
        NewFile(file.path, file.role, b"{}" if file.role == "tokenizer" else file.data, file.precision)
        for file in new_files(source)
    ]

    def describe(version: int, described: list[BundleFile]) -> Manifest:
        return source.manifest.model_copy(update={"version": version, "files": described})

    with pytest.raises(BundleError) as refusal:
        write_bundle(tmp_path, NAME, files, describe)

    assert refusal.value.rule == "B08-tokenizer"
    assert sorted(path.name for path in (tmp_path / NAME).iterdir()) == [".lock", "1", "current"]
    assert current(tmp_path, NAME) == 1


def test_leftovers_of_a_dead_writer_are_swept_and_never_seen(tmp_path: Path) -> None:
    leftover = tmp_path / NAME / ".partial" / NAME / "1"
    leftover.mkdir(parents=True)
    (leftover / "model.fp32.onnx").write_bytes(b"half a file")

    assert (versions(tmp_path, NAME), names(tmp_path)) == ([], [])
    write_again(tmp_path)

    assert sorted(path.name for path in (tmp_path / NAME).iterdir()) == [".lock", "1", "current"]


@pytest.mark.slow
def test_a_writer_killed_at_any_step_leaves_the_old_version_or_the_new_one(tmp_path: Path) -> None:
    """After every death the version that serves keeps every rule, and the next writer goes on."""
    write_again(tmp_path)

    rounds = _rounds([sys.executable, str(Path(writing.__file__)), str(tmp_path)])

    assert len(rounds) > len(FILES)  # at least one death at each file
    assert [one.step for one in rounds] == list(range(len(rounds)))
    assert all(one.serving in one.versions for one in rounds)
    assert rounds[-1].serving == max(rounds[-1].versions)
    assert not (tmp_path / NAME / ".partial").exists()


@dataclass(frozen=True, slots=True)
class Round:
    """What one writer left."""

    step: int
    serving: int
    versions: list[int]


def _rounds(command: Sequence[str]) -> list[Round]:
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return [Round(**json.loads(line)) for line in run.stdout.splitlines()]


def test_every_file_is_on_the_disk_before_its_bundle_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after the rename must not find files that were only in memory."""
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_again(tmp_path)

    staged = tmp_path / NAME / ".partial" / NAME / "1"
    last = synced.index(str(tmp_path / NAME))  # the folder in which the rename happened
    assert {str(staged / path) for path in [*FILES, "manifest.json"]} | {str(staged), str(staged / "report")} == set(
        synced[:last]
    )
    assert synced.index(str(staged / "manifest.json")) == len(FILES)  # last of the files


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(path: str, place: float, bit: int, tmp_path: Path) -> None:
    folder = tmp_path / CLASSIFIER / "1"
    if not folder.exists():
        copy_of(CLASSIFIER, tmp_path)
    whole = (folder / path).read_bytes()
    spoilt = bytearray(whole)
    spoilt[int(place * len(whole))] ^= 1 << bit
    (folder / path).write_bytes(spoilt)

    with pytest.raises(BundleError) as refusal:
        verify(folder)
    (folder / path).write_bytes(whole)

    assert refusal.value.rule == "B05-bytes"
