"""How do several front ends know what all of them have let in?

A small file in the supervisor's folder, mapped by every front end: a row of numbers for each, written by its owner
alone and read by all. A store of eight aligned bytes is never seen half, so nothing needs a lock. The supervisor reads
here when each front end last beat, to see which one hangs.
"""

import logging
from pathlib import Path

import numpy as np

from app.batching.admission import PLACES, Places
from app.telemetry.mapped import map_file

log = logging.getLogger(__name__)

SLOTS = 64  # as many front ends as the settings allow
SUM, BEAT = PLACES, PLACES + 1  # columns after the places: their sum, and when the front end last beat
COLUMNS = PLACES + 2
ROW_BYTES = 8 * COLUMNS


def clear(path: Path, slot: int) -> None:
    """What the dead front end of this number had let in went with it: the others stop counting it."""
    if not path.exists():  # it died before it had one
        return
    with path.open("r+b") as file:
        file.seek(slot * ROW_BYTES)
        file.write(bytes(ROW_BYTES))


def beats_s(path: Path) -> list[float]:
    """When the front end of each number last beat, on the monotonic clock that processes share; 0 if never.

    Raises:
        OSError: the file cannot be read.
    """
    data = path.read_bytes() if path.exists() else b""
    rows = np.frombuffer(data.ljust(SLOTS * ROW_BYTES, b"\0"), np.float64, SLOTS * COLUMNS)
    return rows.reshape(SLOTS, COLUMNS)[:, BEAT].tolist()  # type: ignore[no-any-return]  # numpy's own annotation


class SharedBoard:
    """`app.batching.admission.Board` over the file at `path`, for `slots` front ends; `slot` is this one's number."""

    def __init__(self, path: Path, slot: int, slots: int = SLOTS) -> None:
        try:
            rows = np.frombuffer(map_file(path, SLOTS * ROW_BYTES), np.float64).reshape(SLOTS, COLUMNS)
        except OSError as error:
            log.error("%s cannot be written (%s): this front end does not see the load of others", path, error.strerror)
            rows = np.zeros((SLOTS, COLUMNS))
        self._places, self._sums, self._own = rows[:slots, :PLACES], rows[:slots, SUM], rows[slot]
        self._own[:] = 0.0  # what a dead one of this number had let in, if nobody has cleared it

    def add(self, place: int, ms: float) -> None:
        """See `Board`."""
        self._own[place] += ms
        self._own[SUM] += ms

    def beat(self, now_s: float) -> None:
        """The front end is well at `now_s`."""
        self._own[BEAT] = now_s

    def places_ms(self) -> Places:
        """See `Board`."""
        places_ms: Places = np.add.reduce(self._places, axis=0)
        return places_ms

    def total_ms(self) -> float:
        """See `Board`."""
        return float(sum(self._sums.tolist()))
