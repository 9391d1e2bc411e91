"""What if nobody reads along, or there is no standard output or error at all? No service ends for that."""

import contextlib
import logging
import os
import sys
from typing import TextIO

log = logging.getLogger(__name__)


def open_missing() -> None:
    """Standard streams that were closed (`2>&-`) lead nowhere from now on, here and in child processes.

    Else the next file or socket that is opened gets the number, and what is meant for people is written into it.
    """
    for fd in range(3):
        if not _is_open(fd):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: `fd`
            os.set_inheritable(fd, True)
    sys.stdout, sys.stderr = _opened(sys.stdout, 1), _opened(sys.stderr, 2)


def say(text: str) -> None:
    """Print for a person who may read along."""
    try:
        print(text, flush=True)
    except OSError as error:  # the reader is gone, or the disk behind it is full
        log.warning("standard output takes nothing (%s); what would stand there is lost", error.strerror)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # what is still in its buffer would fail again at the exit, with code 120
        os.close(nowhere)


def _is_open(fd: int) -> bool:
    with contextlib.suppress(OSError):  # EBADF
        os.fstat(fd)
        return True
    return False


def _opened(stream: TextIO | None, fd: int) -> TextIO:
    return stream if stream is not None else os.fdopen(fd, "w")
