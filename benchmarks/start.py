"""How long does a later start take, from exec to the first 200 of /ready?

Later: the bundles are built and their files in the page cache, which one start before the first that counts makes sure
of.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from app.bundle.store import names
from benchmarks.machine import origin
from benchmarks.phases import Say
from benchmarks.schema import Start
from benchmarks.server import running

TARGET_S = 5.0


def measure(models_dir: Path, repeats: int, arguments: Sequence[str], say: Say) -> Start:
    """Start and stop the service `repeats` times, and once before.

    Raises:
        ServiceError: it did not start.
    """
    seconds = []
    for number in range(repeats + 1):
        with running(models_dir) as service:
            if number > 0:
                seconds.append(round(service.start_s, 3))
                say(f"start {number}: {service.start_s:.2f} s")
    return Start(
        origin=origin(arguments),
        models=names(models_dir / "store"),
        target_s=TARGET_S,
        seconds=seconds,
        median_s=round(median(seconds), 3),
    )
