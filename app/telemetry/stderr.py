"""How does a line get to standard error without ever waiting for whoever should read it?

A pipe that nobody reads is full after 64 KiB, and the next line would block its writer for good: an event loop, a lane,
or the supervisor. So a line is written only where there is room for it. When there is none, this waits for a moment
once, and from then on drops lines until there is; how many were lost is said first of all then.
"""

import os
import select
import threading
from collections.abc import Callable

PATIENCE_MS = 100  # for a reader that is only slow
ROOM = 4096  # PIPE_BUF of Linux: what poll(2) calls writable takes as much without blocking


class LineWriter:
    """A stream of whole lines over a file descriptor, for loggers; safe to share between threads."""

    def __init__(self, fd: int, notice: Callable[[int], str]) -> None:
        """`notice` makes the line that says how many lines were lost."""
        self._fd, self._notice = fd, notice
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._lost = 0

    def write(self, text: str) -> None:
        """Write lines, or drop them."""
        with self._lock:
            if self._lost and self._put(self._notice(self._lost), wait_ms=0):
                self._lost = 0
            if self._lost or not self._put(text, wait_ms=PATIENCE_MS):
                self._lost += 1

    def flush(self) -> None:
        """Nothing is held back."""

    def _put(self, text: str, wait_ms: int) -> bool:
        data = text.encode(errors="backslashreplace")
        try:
            for start in range(0, len(data), ROOM):
                if not self._poll.poll(wait_ms):
                    return False
                os.write(self._fd, data[start : start + ROOM])
        except OSError:  # the reader is gone, or the disk behind a file is full
            return False
        return True
