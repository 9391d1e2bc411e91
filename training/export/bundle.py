"""How does a bundle come into being, so that a reader sees the old state or the new one and never a part?

Under the writer's lock: leftovers of dead writers are swept, the next version number is taken, every file is written
and fsynced in a hidden folder, the manifest with all digests last; the hidden bundle is verified as a reader would;
one rename makes it visible and `current` is turned to it, by rename too. A writer that dies at any point leaves the
old version serving and at most a hidden folder, which the next writer removes.
Nothing here needs torch. The format is docs/bundle-format.md.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.bundle.manifest import MANIFEST_FILE, BundleFile, Device, Manifest, Precision, Role
from app.bundle.store import bundle_dir, fsync_dir, locked, set_current, versions
from app.bundle.verify import verify

PARTIAL = ".partial"  # hidden: no model name and no version starts with a dot


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be: its path inside the bundle, what it is for, and its bytes."""

    path: str
    role: Role
    data: bytes
    precision: Precision | None = None  # models and their weights only
    device: Device = "any"
    state: Literal["verified", "unverified"] = "verified"

    def described(self) -> BundleFile:
        """What the manifest says of it."""
        digest = hashlib.sha256(self.data).hexdigest()
        return BundleFile(
            path=self.path,
            role=self.role,
            bytes=len(self.data),
            sha256=digest,
            device=self.device,
            precision=self.precision,
            state=self.state,
        )


Describe = Callable[[int, list[BundleFile]], Manifest]  # version, files → the manifest


def write_bundle(store: Path, name: str, files: Sequence[NewFile], describe: Describe) -> Path:
    """`<store>/<name>/<version>`, complete, durable, verified and current. The version is the next free one.

    Raises:
        BundleError: the bundle breaks a rule of the format; nothing of it is left.
    """
    with locked(store, name) as folder:
        _sweep(folder)
        version = max(versions(store, name), default=0) + 1
        manifest = describe(version, [file.described() for file in files])
        staged = folder / PARTIAL / name / str(version)  # the same place as later, seen from inside
        try:
            _write_files(staged, files, manifest)
            verify(staged)
            final = bundle_dir(store, name, version)
            staged.rename(final)
        finally:
            shutil.rmtree(folder / PARTIAL)
        fsync_dir(folder)
        fsync_dir(store)
        set_current(store, name, version)
    return final


def _sweep(folder: Path) -> None:
    """Remove what a writer left that died; a living one would hold the lock."""
    if (folder / PARTIAL).exists():
        shutil.rmtree(folder / PARTIAL)


def _write_files(staged: Path, files: Sequence[NewFile], manifest: Manifest) -> None:
    staged.mkdir(parents=True)
    for file in files:
        path = staged / file.path
        path.parent.mkdir(exist_ok=True)
        _write(path, file.data)
    _write(staged / MANIFEST_FILE, manifest.model_dump_json(indent=1).encode() + b"\n")
    for folder in {(staged / file.path).parent for file in files} | {staged}:
        fsync_dir(folder)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
