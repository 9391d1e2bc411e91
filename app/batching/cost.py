"""What does a run cost, and what follows from it?

The engine times a few shapes at load; a straight line through them, `overhead + padded tokens * ms_per_token`, is
good to some 10 % over the range that batches have. Budget, admission limit and predicted wait follow from it, so no
constant has to be right for every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.types import Cost

OVERHEAD_SHARE = 0.05  # a batch is big enough when the fixed cost of a run is this share of it
JOIN_SHARE = 0.4  # of a run's overhead: what a row may add in padding (docs/benchmarks.md, adr/0003)
BUDGET_MIN, BUDGET_MAX = 64, 16_384  # padded tokens
MAX_ROWS = 256


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed run: padded tokens (rows times length) and milliseconds."""

    tokens: int
    ms: float


def fit(samples: Sequence[Sample], *, lanes: int) -> Cost:
    """The least-squares line through `samples`, weighted so that relative errors count; both terms at least 1 ns."""
    tokens = np.array([sample.tokens for sample in samples], np.float64)
    ms = np.array([sample.ms for sample in samples], np.float64)
    design = np.stack([np.ones_like(tokens), tokens], axis=1) / ms[:, None]
    (overhead, slope), *_ = np.linalg.lstsq(design, np.ones_like(ms), rcond=None)
    return Cost(overhead_ms=max(float(overhead), 1e-6), ms_per_token=max(float(slope), 1e-6), lanes=lanes)


def budget_tokens(cost: Cost) -> int:
    """Padded tokens of a batch whose fixed cost is a small share: the smallest batch that loses no throughput."""
    wanted = cost.overhead_ms / (cost.ms_per_token * OVERHEAD_SHARE)
    return int(min(max(wanted, BUDGET_MIN), BUDGET_MAX))


def join_tokens(cost: Cost) -> float:
    """The padding that a row may add to a batch: more than that, and a run that it shares with others is cheaper."""
    return JOIN_SHARE * cost.overhead_ms / cost.ms_per_token


def predicted_wait_ms(tokens: int, cost: Cost) -> float:
    """How long `tokens` that stand before a newcomer keep the engine busy, all its lanes at work."""
    per_token = cost.ms_per_token + cost.overhead_ms / budget_tokens(cost)
    return tokens * per_token / cost.lanes
