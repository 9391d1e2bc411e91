"""What does a run cost, and what follows from it?

The engine times a few shapes at load. A run of B rows padded to T tokens costs `overhead + B*T * ms_per_token +
B*T*T * ms_per_pair`; measured over rows 1 to 32 and lengths 8 to 256 this is good to 4 to 6 % in the mean and 12 % for
nine shapes of ten, on every plan (a straight line misses long rows by 25 %; a term for the number of rows adds
nothing). Budget, admission limit and predicted wait follow from it, so no constant has to be right for every machine.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.types import Cost

OVERHEAD_SHARE = 0.05  # a batch is big enough when the fixed cost of a run is this share of it
JOIN_SHARE = 0.4  # of a run's overhead: what a row may add in padding (docs/benchmarks.md, adr/0003)
JOIN_SHARE_OF_STEPS = 0.1  # the same where lengths are rounded up: who shares a step joins for nothing, and suffices
# Rows of a run where every new shape is dear: 16 numbers instead of 256. What is over waits for the next run.
ROW_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
MAX_ROWS = ROW_STEPS[-1]
BUDGET_MIN, BUDGET_MAX = 64, 16_384  # padded tokens
FLOOR = 1e-6  # ms: no term is worth less than a nanosecond


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed run: `rows` rows padded to `length` tokens, in milliseconds."""

    rows: int
    length: int
    ms: float


def fit(samples: Sequence[Sample], *, lanes: int, pad_to: int = 1) -> Cost:
    """The least-squares price through `samples`, weighted so that relative errors count; no term is negative."""
    lengths = np.array([padded_length(sample.length, pad_to) for sample in samples], np.float64)
    tokens = lengths * np.array([sample.rows for sample in samples], np.float64)
    ms = np.array([sample.ms for sample in samples], np.float64)
    design = np.stack([np.ones_like(tokens), tokens, tokens * lengths], axis=1) / ms[:, None]
    overhead, per_token, per_pair = _non_negative(design, np.ones_like(ms))
    return Cost(max(overhead, FLOOR), max(per_token, FLOOR), lanes, per_pair, pad_to)


def _non_negative(design: np.ndarray, target: np.ndarray) -> list[float]:
    """Least squares with coefficients of 0 or more: the most negative one is left out until none is."""
    kept = list(range(design.shape[1]))
    while kept:
        found, *_ = np.linalg.lstsq(design[:, kept], target, rcond=None)
        if (found >= 0).all():
            break
        kept.pop(int(found.argmin()))
    coefficients = [0.0] * design.shape[1]
    for column, value in zip(kept, found if kept else (), strict=True):
        coefficients[column] = float(value)
    return coefficients


def padded_length(tokens: int, pad_to: int) -> int:
    """The length that a run gives a row of `tokens` tokens: the next multiple of `pad_to`."""
    return -(-tokens // pad_to) * pad_to


def worthwhile_rows(rows: int, cost: Cost) -> int:
    """How many of `rows` rows that are near in length to run at once."""
    return rows if cost.pad_to == 1 else ROW_STEPS[bisect_right(ROW_STEPS, rows) - 1]


def run_ms(cost: Cost, rows: int, length: int) -> float:
    """What a run of `rows` rows costs, the longest of `length` tokens."""
    length = padded_length(length, cost.pad_to)
    tokens = rows * length
    return cost.overhead_ms + tokens * (cost.ms_per_token + length * cost.ms_per_pair)


def budget_tokens(cost: Cost) -> int:
    """Padded tokens of a batch whose fixed cost is a small share: the smallest batch that loses no throughput."""
    wanted = cost.overhead_ms / (cost.ms_per_token * OVERHEAD_SHARE)
    return int(min(max(wanted, BUDGET_MIN), BUDGET_MAX))


def join_tokens(cost: Cost) -> float:
    """The padding that a row may add to a batch: more than that, and a run that it shares with others is cheaper."""
    share = JOIN_SHARE if cost.pad_to == 1 else JOIN_SHARE_OF_STEPS
    return share * cost.overhead_ms / cost.ms_per_token


def predicted_wait_ms(tokens: int, cost: Cost) -> float:
    """How long `tokens` that stand before a newcomer keep the engine busy, all its lanes at work."""
    per_token = cost.ms_per_token + cost.overhead_ms / budget_tokens(cost)
    return tokens * per_token / cost.lanes
