"""How does the price of a run follow the machine while it serves?

What was measured at load drifts: clocks fall when all cores are busy, neighbours take caches, front ends take cores.
Each served batch moves two factors a little, one on the overhead and one on what a token costs, towards the time that
the batch took, each by its share of that time (a normalised gradient step in logarithms).

Invariants: a batch moves the price by at most `RATE * CLIP` (0.4 %), however late it was, so a stalled machine is
forgotten like any other batch; both factors stay within 1/`BOUND` and `BOUND` of what was measured; a time that is no
positive number changes nothing. Not thread-safe: one owner feeds it.
"""

import math
from dataclasses import replace

from app.batching.cost import run_ms
from app.types import Cost

RATE = 0.02  # a lasting change of a factor 1.5 is followed within some 200 batches, seconds of work
CLIP = 0.2  # logarithm of the ratio: what lies further off than 20 % counts as 20 % off
BOUND = 4.0
SHORTEST_MS = 1e-6  # a shorter time is no time that a clock has measured


class CostRefiner:
    """The price of one model's runs, kept true by the batches that it serves."""

    def __init__(self, measured: Cost) -> None:
        self._measured = measured
        self._overhead = 0.0  # logarithms of the two factors
        self._tokens = 0.0
        self.cost = measured

    def feed(self, rows: int, length: int, ms: float) -> None:
        """Learn from one run of `rows` rows, the longest of `length` tokens, that took `ms` on its lane.

        `ms` is the run alone: a run that had to wait for a free core tells nothing of its price.
        """
        if not (math.isfinite(ms) and ms >= SHORTEST_MS and rows > 0 and length > 0):
            return
        expected_ms = run_ms(self.cost, rows, length)
        error = min(max(math.log(ms / expected_ms), -CLIP), CLIP)
        share = self.cost.overhead_ms / expected_ms
        norm = share**2 + (1 - share) ** 2
        self._overhead = _bounded(self._overhead + RATE * error * share / norm)
        self._tokens = _bounded(self._tokens + RATE * error * (1 - share) / norm)
        self.cost = scaled(self._measured, math.exp(self._overhead), math.exp(self._tokens))


def scaled(cost: Cost, overhead: float, tokens: float) -> Cost:
    """`cost` with its overhead and its price of tokens multiplied."""
    return replace(
        cost,
        overhead_ms=cost.overhead_ms * overhead,
        ms_per_token=cost.ms_per_token * tokens,
        ms_per_pair=cost.ms_per_pair * tokens,
    )


def within_bounds(cost: Cost, measured: Cost) -> Cost:
    """`measured`, scaled towards `cost` by no more than a factor of `BOUND`: what may be kept for the next start."""
    overhead = math.exp(_bounded(math.log(cost.overhead_ms / measured.overhead_ms)))
    tokens = math.exp(_bounded(math.log(cost.ms_per_token / measured.ms_per_token)))
    return scaled(measured, overhead, tokens)


def _bounded(logarithm: float) -> float:
    return min(max(logarithm, -math.log(BOUND)), math.log(BOUND))
