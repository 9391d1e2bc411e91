"""How is a file mapped so that nobody dies of it?

A page of a mapped file that gets no block, because the disk is full, kills the process that writes it (SIGBUS), long
after the file was made: so blocks are reserved first.
"""

import mmap
import os
from pathlib import Path


def map_file(path: Path, size_bytes: int) -> mmap.mmap:
    """The file at `path`, made if it is not there, mapped with a block for each of its bytes.

    Raises:
        OSError: there is no room, or no such folder.
    """
    with path.open("a+b") as file:
        os.posix_fallocate(file.fileno(), 0, size_bytes)
        return mmap.mmap(file.fileno(), size_bytes)
