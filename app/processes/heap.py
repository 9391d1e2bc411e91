"""How does a process that runs for weeks keep its heap small?

glibc gives each thread a heap of its own and, once a large block was freed, keeps blocks as large in the heap from then
on. What loading a model leaves behind then stays, and buffers of many sizes, made by one thread and freed by another,
leave holes that never fit again: the engine of all-MiniLM-L6-v2 held 50 MB more so.
"""

import ctypes

ARENA_MAX, MMAP_THRESHOLD = -8, -3  # mallopt(3), <malloc.h>
LARGE = 128 * 1024  # bytes; glibc's own first threshold, which setting it keeps where it is


def keep_small() -> None:
    """One heap, and large blocks outside of it. C libraries other than glibc have no such knobs, and are left alone."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(ARENA_MAX, 1)
        libc.mallopt(MMAP_THRESHOLD, LARGE)
