"""Does the caller read its answers?

One that leaves more than the high water of the transport (64 KiB) unread has to go on reading at a pace, or is cut off.
The pace is low: progress shows in steps of what the kernel's own buffer takes, and slow callers are no enemies.
"""

import asyncio
import math

WRITE_S = 30.0  # how long a caller may take to read `WRITE_BYTES` of a full send buffer
WRITE_BYTES = 65_536  # else one byte in 30 s would hold an answer of 9 MB for years


class Writing:
    """The send buffer of one connection, as far as it is full."""

    def __init__(self) -> None:
        self._room: asyncio.Future[None] | None = None
        self._unread_bytes = 0  # when the deadline was set
        self._deadline_s = math.inf

    @property
    def is_full(self) -> bool:
        """Whether the caller has to read before more is written."""
        return self._room is not None

    def fill(self, now_s: float, unread_bytes: int) -> None:
        """Be full: the caller's time begins."""
        self._room = asyncio.get_running_loop().create_future()
        self._give_time(now_s, unread_bytes)

    def free(self) -> None:
        """Be full no longer."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    async def drain(self) -> None:
        """Return when there is room."""
        if self._room is not None:
            await asyncio.shield(self._room)

    def is_left_unread(self, now_s: float, unread_bytes: int) -> bool:
        """Whether the caller has had its time and read too little in it."""
        if not self.is_full:
            return False
        if unread_bytes <= self._unread_bytes - WRITE_BYTES:
            self._give_time(now_s, unread_bytes)
        return now_s >= self._deadline_s

    def _give_time(self, now_s: float, unread_bytes: int) -> None:
        self._unread_bytes, self._deadline_s = unread_bytes, now_s + WRITE_S
