"""A writer that can be killed anywhere, and what a reader sees afterwards.

    python tests/contract/writing.py STORE

writes a version of `tiny-classifier` into STORE again and again, each time in a process of its own that kills itself
at the next step – a file opened, a folder made, a name changed or removed – until a writer lives to the end. It prints
one JSON line a round: the step, the version that serves, and the versions that are there.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from app.bundle.manifest import BundleFile, Manifest
from app.bundle.open import Bundle
from app.bundle.store import bundle_dir, current, versions
from app.bundle.verify import verify
from training.export.bundle import NewFile, write_bundle

NAME = "tiny-classifier"
SOURCE = Path(__file__).parents[1] / "data" / "store" / NAME / "1"
STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")


def new_files(bundle: Bundle) -> list[NewFile]:
    """The files of a bundle, to be written once more."""
    return [
        NewFile(file.path, file.role, bundle.read(file), file.precision, file.device, file.state)
        for file in bundle.manifest.files
    ]


def write_again(store: Path) -> Path:
    """The committed classifier as the next version of `store`."""
    source = verify(SOURCE)

    def describe(version: int, files: list[BundleFile]) -> Manifest:
        return source.manifest.model_copy(update={"version": version, "files": files})

    return write_bundle(store, NAME, new_files(source), describe)


def die_at(step: int, store: Path) -> None:
    """From now on this process kills itself as soon as it begins its `step`-th change below `store`."""
    seen = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in STEPS and arguments and str(arguments[0]).startswith(str(store)):
            seen += 1
            if seen > step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def main(store: Path) -> None:
    """Round after round, until a writer is not killed any more."""
    step, was_killed = 0, True
    while was_killed:
        child = os.fork()
        if child == 0:
            die_at(step, store)
            write_again(store)
            os._exit(0)
        was_killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        serving = current(store, NAME)
        verify(bundle_dir(store, NAME, serving))
        print(json.dumps({"step": step, "serving": serving, "versions": versions(store, NAME)}), flush=True)
        step += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
