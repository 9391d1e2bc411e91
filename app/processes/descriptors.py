"""How many connections may a process hold?"""

import resource

from app.processes.process import StartError

NEEDED = 256  # an engine with its libraries and a front end with few callers have some 60
WANTED = 65_536  # a connection takes one; the usual soft limit of 1,024 is there for select(2), which nobody here uses


def raise_limit() -> None:
    """As many files and sockets as this process, and those it starts, may have without asking anybody.

    Raises:
        StartError: that is too few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = WANTED if hard == resource.RLIM_INFINITY else hard
    if allowed < NEEDED:
        raise StartError(f"a process may open {allowed} files and sockets here; allow at least {NEEDED} (`ulimit -n`)")
    if soft != resource.RLIM_INFINITY and soft < min(allowed, WANTED):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(allowed, WANTED), hard))
