"""How many cores may this process use?

Those of its affinity mask, and no more than the CPU quota of its container pays for: two CPUs on a machine of 64 cores
are two. Sources: Linux, Documentation/admin-guide/cgroup-v2.rst, "cpu.max"; scheduler/sched-bwc.rst for version 1.
"""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # as a container sees its own
UNLIMITED = float(2**20)


def cores(cgroup: Path = CGROUP, *, share: int = 1) -> int:
    """The cores that this process may use, at least one; a quota for part of a core counts as a whole one.

    `share` is how many engines they are divided among.
    """
    return max(1, min(len(os.sched_getaffinity(0)), math.ceil(_quota(cgroup))) // share)


def _quota(cgroup: Path) -> float:
    """How many cores are paid for; more than any machine has where there is no limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        quota, period = _read(cgroup / "cpu/cpu.cfs_quota_us"), _read(cgroup / "cpu/cpu.cfs_period_us")
    try:
        cpus = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return UNLIMITED
    return cpus if cpus > 0 else UNLIMITED  # -1 in version 1


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
