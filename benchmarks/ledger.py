"""What came of each request of one load?

A row for each request: when it was due, when its last byte was written, when its answer was whole, and one outcome.
Times are seconds of `time.perf_counter()`, which on Linux all processes share, so that another process can say which
requests had been sent before it gave a signal.

Invariant: each request that was asked has exactly one outcome; `UNSENT` are those that never were.
"""

from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.schema import Latency


class Outcome(IntEnum):
    """How a request ended."""

    UNSENT = 0
    RIGHT = 1
    WRONG = 2  # 200 with another answer than the right one
    SHED = 3  # 429, or 503 with Retry-After
    REFUSED = 4  # another 4xx
    EXPIRED = 5  # 504
    FAILED = 6  # any other status
    RESET = 7  # the connection was closed or refused
    LOST = 8  # nothing came, for longer than the deadline and two seconds


class Ledger:
    """The rows of one load, by the index of the question."""

    def __init__(self, count: int) -> None:
        self.due_s: NDArray[np.float64] = np.full(count, np.nan)
        self.sent_s: NDArray[np.float64] = np.full(count, np.nan)
        self.done_s: NDArray[np.float64] = np.full(count, np.nan)
        self.outcome: NDArray[np.uint8] = np.zeros(count, np.uint8)
        self.late_s: list[float] = []  # open loop: how late the generator itself asked
        self.reasons: Counter[str] = Counter()  # of what is not RIGHT
        self.duplicates = 0  # answers that nobody had asked for, or asked for once and got twice
        self.shed_bare = 0  # SHED without Retry-After

    def settle(self, index: int, outcome: Outcome, now_s: float, reason: str = "") -> None:
        """Give a request its outcome."""
        assert self.outcome[index] == Outcome.UNSENT, f"request {index} ends twice"
        self.outcome[index] = outcome
        self.done_s[index] = now_s
        if outcome is not Outcome.RIGHT:
            self.reasons[reason] += 1

    def count(self, outcome: Outcome) -> int:
        """How many ended so."""
        return int(np.count_nonzero(self.outcome == outcome))

    @property
    def asked(self) -> int:
        """How many were asked."""
        return int(np.count_nonzero(self.outcome))

    def seconds(self, outcome: Outcome) -> NDArray[np.float64]:
        """From when each request that ended so was due to its end, ascending."""
        chosen = self.outcome == outcome
        return np.sort(self.done_s[chosen] - self.due_s[chosen])

    def save(self, path: Path) -> None:
        """Write the rows, for `load`."""
        with path.open("wb") as file:
            np.savez(file, due=self.due_s, sent=self.sent_s, done=self.done_s, outcome=self.outcome)

    @classmethod
    def load(cls, path: Path) -> "Ledger":
        """The rows of a ledger that was saved; not its counters."""
        with np.load(path) as arrays:
            ledger = cls(len(arrays["outcome"]))
            ledger.due_s, ledger.sent_s = arrays["due"], arrays["sent"]
            ledger.done_s, ledger.outcome = arrays["done"], arrays["outcome"]
        return ledger


def percentile(ordered: Sequence[float] | NDArray[np.float64], share: float) -> float:
    """The smallest value that at least `share` of the (ordered, not empty) values do not exceed."""
    rank = int(np.ceil(round(share * len(ordered), 9)))  # 0.07 * 100 is 7.000000000000001
    return float(ordered[max(rank, 1) - 1])


def latency(ordered_s: Sequence[float] | NDArray[np.float64]) -> Latency | None:
    """Percentiles in milliseconds; None without values."""
    if not len(ordered_s):
        return None
    p50, p90, p99, p999 = (round(1000 * percentile(ordered_s, share), 3) for share in (0.5, 0.9, 0.99, 0.999))
    return Latency(p50_ms=p50, p90_ms=p90, p99_ms=p99, p999_ms=p999, max_ms=round(1000 * float(ordered_s[-1]), 3))
