"""Where do bundles lie, and which version serves?

`<store>/<name>/<version>/` holds an immutable bundle; `<store>/<name>/current` names the version that serves by
default. Both appear by rename, under a lock on `<store>/<name>/.lock`, so that a reader sees the old state or the
new one and never a part.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.bundle.errors import BundleError
from app.bundle.manifest import NAME_PATTERN

CURRENT = "current"


def names(store: Path) -> list[str]:
    """The models that have a `current` version, sorted."""
    if not store.is_dir():
        return []
    return sorted(
        entry.name for entry in store.iterdir() if NAME_PATTERN.fullmatch(entry.name) and (entry / CURRENT).is_file()
    )


def versions(store: Path, name: str) -> list[int]:
    """The versions of one model that are on disk, ascending."""
    folder = store / name
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if re.fullmatch(r"[1-9][0-9]*", entry.name))


def current(store: Path, name: str) -> int:
    """The version that serves by default.

    Raises:
        BundleError: B11 when `current` is missing, holds no number, or names a version that is not there.
    """
    path = store / name / CURRENT
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError("B11-current", f"{path} cannot be read: {error}") from error
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text):
        raise BundleError("B11-current", f"{path} holds {text[:40]!r}, not a version number")
    if int(text) not in versions(store, name):
        raise BundleError("B11-current", f"{path} names version {text}, which is not in {path.parent}")
    return int(text)


def bundle_dir(store: Path, name: str, version: int) -> Path:
    """The folder of one version."""
    return store / name / str(version)


def set_current(store: Path, name: str, version: int) -> None:
    """Make `version` the default, atomically and durably. The caller holds `locked`."""
    folder = store / name
    partial = folder / f".{CURRENT}.partial"
    with partial.open("w", encoding="ascii") as file:
        file.write(f"{version}\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(folder / CURRENT)
    fsync_dir(folder)


@contextmanager
def locked(store: Path, name: str) -> Iterator[Path]:
    """Hold the only writer's lock of one model; yields its folder, made if need be. Dies with its process."""
    folder = store / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield folder


def fsync_dir(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
