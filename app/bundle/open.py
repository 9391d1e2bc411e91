"""How is a bundle opened so that what was checked is what is used?

`open_bundle` checks the manifest and the folder; `Bundle.read` returns a file's bytes only after hashing those very
bytes. Files are opened without following links. Nothing here runs the model: see `verify.py` and the engine.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from app.bundle.errors import BundleError
from app.bundle.manifest import MANIFEST_FILE, BundleFile, Manifest

MANIFEST_MAX_BYTES = 16 * 2**20  # thousands of labels fit; a file made to exhaust memory does not


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder whose manifest and file list hold. Its bytes are checked when they are read."""

    folder: Path
    manifest: Manifest

    def read(self, file: BundleFile) -> bytes:
        """The bytes of one file, hashed after reading.

        Raises:
            BundleError: B04 when it is not a plain file, B05 when its size or sha256 is not the manifest's.
        """
        data = _read_plain(self.folder / file.path, limit_bytes=file.bytes)
        if len(data) != file.bytes:
            raise BundleError("B05-bytes", f"{file.path} has {_size(self.folder / file.path)} bytes, not {file.bytes}")
        if (digest := hashlib.sha256(data).hexdigest()) != file.sha256:
            raise BundleError("B05-bytes", f"{file.path} has sha256 {digest[:12]}…, not {file.sha256[:12]}…")
        return data


def open_bundle(folder: Path) -> Bundle:
    """Read the manifest and compare the folder with it.

    Raises:
        BundleError: B01 to B05, with the file and the reason.
    """
    manifest = _read_manifest(folder)
    if (folder.parent.name, folder.name) != (manifest.name, str(manifest.version)):
        found = f"{folder.parent.name}/{folder.name}"
        raise BundleError("B02-place", f"the manifest of {found} is that of {manifest.name}/{manifest.version}")
    _check_listing(folder, {file.path for file in manifest.files} | {MANIFEST_FILE})
    for file in manifest.files:
        if (size := _size(folder / file.path)) != file.bytes:
            raise BundleError("B05-bytes", f"{file.path} has {size} bytes, not {file.bytes}")
    return Bundle(folder, manifest)


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_FILE
    if not path.exists():
        raise BundleError("B01-manifest", f"{path} is missing")
    data = _read_plain(path, limit_bytes=MANIFEST_MAX_BYTES)
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise BundleError("B01-manifest", f"{path}: {where}: {first['msg']}") from error


def _check_listing(folder: Path, expected: set[str]) -> None:
    found: set[str] = set()
    if folder.is_symlink():
        raise BundleError("B04-plain", f"{folder} is a link; bundles are folders of their own")
    for path in sorted(folder.rglob("*")):
        mode = path.lstat()
        relative = path.relative_to(folder).as_posix()
        if stat.S_ISDIR(mode.st_mode):
            if not any(path.iterdir()):
                raise BundleError("B03-files", f"{folder} holds {relative}/, an empty folder that no manifest can name")
            continue
        if not stat.S_ISREG(mode.st_mode) or mode.st_nlink != 1:
            raise BundleError("B04-plain", f"{relative} is a link or a special file; bundles hold plain files only")
        found.add(relative)
    if missing := sorted(expected - found):
        raise BundleError("B03-files", f"{folder} lacks {', '.join(missing)}")
    if extra := sorted(found - expected):
        raise BundleError("B03-files", f"{folder} holds {', '.join(extra)}, which the manifest does not name")


def _read_plain(path: Path, *, limit_bytes: int) -> bytes:
    """At most `limit_bytes` + 1 bytes of a regular file with one name, opened without following a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise BundleError("B04-plain", f"{path} cannot be opened as a plain file: {error.strerror}") from error
    mode = os.fstat(descriptor)
    if not stat.S_ISREG(mode.st_mode) or mode.st_nlink != 1:  # first: of a folder Python makes no file
        os.close(descriptor)
        raise BundleError("B04-plain", f"{path} is a link, a folder or a special file; bundles hold plain files only")
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit_bytes + 1)


def _size(path: Path) -> int:
    return path.lstat().st_size
