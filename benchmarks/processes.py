"""What do the processes of a service use? Linux 5.4 or newer: everything is read from /proc."""

import os
import resource
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

KINDS = ("engine", "frontend", "candidate")  # as they stand in the names of modules
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PSS = ("Pss_Anon:", "Pss_Shmem:")
OPEN_FILES = 16_384


def below(pid: int) -> list[int]:
    """The processes below one, children of children included; those that end meanwhile are left out."""
    found, todo = [], [pid]
    while todo:
        try:
            listed = "".join(task.read_text() for task in Path(f"/proc/{todo.pop()}/task").glob("*/children"))
        except OSError:  # it has ended
            continue
        children = [int(child) for child in listed.split()]
        found += children
        todo += children
    return found


def command(pid: int) -> list[str]:
    """The arguments that a process was started with; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def cpu_seconds(pid: int) -> Mapping[str, float]:
    """CPU seconds of a supervisor and what is below it, by kind of process."""
    used = defaultdict(float, {"supervisor": _cpu(pid)})
    for child in below(pid):
        module = next((part for part in command(child)[1:3] if "." in part), "")
        used[next((kind for kind in KINDS if kind in module), "other")] += _cpu(child)
    return used


def memory_bytes(pids: Iterable[int]) -> int:
    """What the processes have written, a page that several share counted once in all.

    Pages of files are left out: how many other programs map the same library moves their share.
    """
    return sum(_pss(pid) for pid in pids)


def allow_connections() -> None:
    """Let this process, and what it starts, have as many open files as an overload needs, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(PSS))


def cpu_times(pid: int) -> tuple[float, float]:
    """User and system CPU seconds of one process; OSError if it has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS_PER_S, int(fields[12]) / TICKS_PER_S  # utime and stime: proc(5)


def _cpu(pid: int) -> float:
    try:
        return sum(cpu_times(pid))
    except OSError:
        return 0.0
