"""What becomes of the numbers of /metrics when the disk is full?

A process that gets no room for them goes on counting in its own memory, and says so once for
each file.
"""

import logging
import mmap
import struct
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

from app.telemetry.mapped import map_file

log = logging.getLogger(__name__)

INITIAL_BYTES = 65_536
ENTRY_BYTES = 32  # of an entry beside its key: length, padding, value, time


class BackedDict(MmapedDict):
    """prometheus_client's dictionary in a file, which never touches a page without a block."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        self._path = Path(filename)
        self._is_private = False
        try:
            map_file(self._path, INITIAL_BYTES).close()
        except OSError as error:
            _tell(self._path, error)
            self._f = None  # type: ignore[assignment]  # as after a close
            self._used, self._capacity, self._positions = 8, 0, dict[str, int]()
            self._copy(INITIAL_BYTES)
        else:
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        """Make room, so that the inherited method does not grow the file in its way."""
        while self._used + len(key.encode()) + ENTRY_BYTES > self._capacity:
            self._grow(2 * self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self, size_bytes: int) -> None:
        if not self._is_private:
            try:
                self._m, self._capacity = map_file(self._path, size_bytes), size_bytes
                return
            except OSError as error:
                _tell(self._path, error)
        self._copy(size_bytes)

    def _copy(self, size_bytes: int) -> None:
        """Go on in memory that is this process's own."""
        memory = mmap.mmap(-1, size_bytes)
        if self._capacity:
            memory[: self._used] = self._m[: self._used]
        memory[:4] = struct.pack("i", self._used)
        self._m, self._capacity, self._is_private = memory, size_bytes, True


def _tell(path: Path, error: OSError) -> None:
    log.error(
        "%s cannot be written (%s): numbers of this process are missing from /metrics from now on; make room in %s, or "
        "set TMPDIR to another folder, and start again",
        path,
        error.strerror,
        path.parent,
    )
