"""How do several front ends know what all of them have let in?

A small file in the supervisor's folder, mapped by every front end: one number for each, written by its owner alone and
read by all. A store of eight aligned bytes is never seen half, so nothing needs a lock.
"""

import mmap
from pathlib import Path

SLOTS = 64  # as many front ends as the settings allow
NUMBER_BYTES = 8


def clear(path: Path, slot: int) -> None:
    """What the dead front end of this number had let in went with it: the others stop counting it."""
    with path.open("a+b"), path.open("r+b") as file:  # the first makes it, where the dead one had not
        file.seek(slot * NUMBER_BYTES)
        file.write(bytes(NUMBER_BYTES))


class SharedBoard:
    """`app.batching.admission.Board` over the file at `path`. `slot` is this front end's number, from 0."""

    def __init__(self, path: Path, slot: int) -> None:
        with path.open("a+b") as file:
            file.truncate(SLOTS * NUMBER_BYTES)
            # As native doubles: a store of one is a single instruction, which `struct` does not promise.
            self._numbers = memoryview(mmap.mmap(file.fileno(), SLOTS * NUMBER_BYTES)).cast("d")
        self._slot = slot
        self.write(0.0)  # what a dead one of this number had let in went with it, if nobody has cleared it

    def write(self, own_ms: float) -> None:
        """See `Board`."""
        self._numbers[self._slot] = own_ms

    def total_ms(self) -> float:
        """See `Board`."""
        return sum(self._numbers)
