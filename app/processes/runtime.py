"""Where do the processes of one service meet?

In a folder of this user alone, which holds the engines' sockets, the counters and the board of the front ends.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from app.processes.child import engine_socket
from app.processes.process import StartError
from app.processes.signals import deferred

MOST_ENGINES = 64  # as the settings allow
SOCKET_PATH_MAX_BYTES = 103  # sun_path holds 104 with its closing zero on BSD and macOS, 108 on Linux


@contextlib.contextmanager
def runtime_folder() -> Iterator[Path]:
    """A new folder (0700) whose path is short enough for a Unix socket inside it; removed at the end.

    Raises:
        StartError: there is no place for it.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="encodery-"))
    except OSError as error:
        raise StartError(
            f"no folder for temporary files can be written; set TMPDIR to one ({error.strerror})"
        ) from error
    try:
        if len(os.fsencode(engine_socket(folder, MOST_ENGINES))) > SOCKET_PATH_MAX_BYTES:
            raise StartError(f"the path {folder} is too long for a Unix socket; set TMPDIR to a shorter one")
        with _locked(folder):
            yield folder
    finally:
        with deferred():  # the event loop has given the signals back
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """What cleans /tmp of old files, systemd-tmpfiles, leaves out a folder that is locked: tmpfiles.d(5)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
