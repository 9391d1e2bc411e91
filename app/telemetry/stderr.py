"""How does a line get to standard error without ever waiting for whoever should read it?

A pipe that nobody reads is full after 64 KiB, and the next line would block its writer for good: an event loop, a lane,
or the supervisor. So a line is written only where there is room for it. When there is none, this waits for a moment,
once in a while, and else drops lines until there is; how many were lost is said first of all then. Processes share the
pipe, and one may take the room that another has just seen: so this writes through an open file of its own that never
blocks, where there can be one.
"""

import math
import os
import select
import stat
import threading
import time
from collections.abc import Callable

PATIENCE_MS = 100  # for a reader that is only slow
REST_S = 10.0  # from one wait to the next: a reader that is always slow holds up a hundredth of the time
ROOM = 4096  # PIPE_BUF of Linux: what poll(2) calls writable takes as much without blocking, and whole


class LineWriter:
    """A stream of whole lines over a file descriptor, for loggers; safe to share between threads."""

    def __init__(self, fd: int, notice: Callable[[int], str], clock: Callable[[], float] = time.monotonic) -> None:
        """`notice` makes the line that says how many lines were lost."""
        self._fd, self._notice, self._clock = _unblocked(fd), notice, clock
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._lost = 0
        self._waited_s = -math.inf

    def write(self, text: str) -> None:
        """Write lines, or drop them."""
        with self._lock:
            if self._lost and self._put(self._notice(self._lost), may_wait=False):
                self._lost = 0
            if self._lost or not self._put(text, may_wait=True):
                self._lost += 1

    def flush(self) -> None:
        """Nothing is held back."""

    def _put(self, text: str, *, may_wait: bool) -> bool:
        data = text.encode(errors="backslashreplace")
        try:
            for part in (data[start : start + ROOM] for start in range(0, len(data), ROOM)):
                if not self._has_room(may_wait) or os.write(self._fd, part) < len(part):
                    return False
        except OSError:  # another process took the room, the reader is gone, or the disk behind a file is full
            return False
        return True

    def _has_room(self, may_wait: bool) -> bool:
        if self._poll.poll(0):
            return True
        if not may_wait or self._clock() - self._waited_s < REST_S:
            return False
        self._waited_s = self._clock()
        return bool(self._poll.poll(PATIENCE_MS))


def _unblocked(fd: int) -> int:
    """An open file of our own behind `fd` that never blocks, or `fd`. O_NONBLOCK on `fd` would be the parent's too."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd  # never blocks; another open file would write over what comes through this one
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # a socket, somebody else's pipe, no reader, or no /proc
        return fd
