"""Which signals tell the service to stop, and what if one comes while nobody can obey?"""

import contextlib
import signal
from collections.abc import Iterator


def stop_signals() -> list[signal.Signals]:
    """SIGTERM, Ctrl-C, and a terminal that was closed, unless whoever started this (nohup) has the last one ignored."""
    stops = [signal.SIGTERM, signal.SIGINT]
    return stops if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [*stops, signal.SIGHUP]


@contextlib.contextmanager
def deferred() -> Iterator[list[int]]:
    """While this lasts, signals to stop end nothing half-way; they stand in the list. Main thread only."""
    told: list[int] = []
    before = {signum: signal.signal(signum, lambda number, _: told.append(number)) for signum in stop_signals()}
    try:
        yield told
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
