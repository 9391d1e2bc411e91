"""Is B better than A, or do they only differ on these rows?

Both are judged on the same rows, so what counts is where they disagree.

- Right or wrong: McNemar's test, exact (McNemar 1947): of the rows that one alone has right, half should be B's.
- Any figure of a row (reciprocal rank, …): the sign-flip permutation test of the mean difference.
- Spearman's correlation: the permutation test that swaps A's and B's rank of a row, for half of the rows at random.
- The interval of the difference: the percentile bootstrap over rows, for figures of all rows together too (macro-F1).

All two-sided. They know rows, not seeds: another seed may turn a small difference. N rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from training.evaluation.bootstrap import interval
from training.metrics import pearson

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
FLIPS, FLIPS_AT_ONCE = 10_000, 100
SWAPS = 2_000
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A in one figure, its 95 % interval, and how likely so large a one is if neither is better (None where no
    test was made of this figure).
    """

    metric: str
    a: float
    b: float
    interval: tuple[float, float]
    p: float | None

    @property
    def by(self) -> float:
        """B minus A."""
        return self.b - self.a


def mcnemar(right_a_N: Bools, right_b_N: Bools) -> float:
    """The exact p-value; 1 where they are right on the same rows."""
    only_a, only_b = int((right_a_N & ~right_b_N).sum()), int((right_b_N & ~right_a_N).sum())
    return float(binomtest(only_b, only_a + only_b).pvalue) if only_a + only_b else 1.0


def sign_flip(a_N: Floats, b_N: Floats, seed: int = 0) -> float:
    """The p-value of the mean difference, by `FLIPS` random signs."""
    differences_N, generator = b_N - a_N, np.random.default_rng(seed)
    observed, as_far = abs(differences_N.sum()) - 1e-12, 0
    for first in range(0, FLIPS, FLIPS_AT_ONCE):  # all at once, a hundred thousand rows are 8 GB of signs
        signs_KN = generator.choice([-1.0, 1.0], (min(FLIPS_AT_ONCE, FLIPS - first), len(differences_N)))
        as_far += int((np.abs(signs_KN @ differences_N) >= observed).sum())
    return (as_far + 1) / (FLIPS + 1)


def swap(ranks_a_N: Floats, ranks_b_N: Floats, right_N: Floats, seed: int = 0) -> float:
    """The p-value of the difference of two correlations with `right_N`, by `SWAPS` random exchanges of ranks."""
    generator = np.random.default_rng(seed)
    observed = abs(pearson(ranks_b_N, right_N) - pearson(ranks_a_N, right_N))
    as_far = 0
    for _ in range(SWAPS):
        stays_N = generator.random(len(right_N)) < 0.5
        a_N, b_N = np.where(stays_N, ranks_a_N, ranks_b_N), np.where(stays_N, ranks_b_N, ranks_a_N)
        as_far += abs(pearson(b_N, right_N) - pearson(a_N, right_N)) >= observed - 1e-12
    return (as_far + 1) / (SWAPS + 1)


def difference(
    metric: str, figure_a: Callable[[Ints], float], figure_b: Callable[[Ints], float], rows: int, p: float | None
) -> Difference:
    """The difference of two figures of row numbers [N]."""
    all_N = np.arange(rows)
    low, high = interval(lambda drawn_N: figure_b(drawn_N) - figure_a(drawn_N), rows)
    return Difference(metric, figure_a(all_N), figure_b(all_N), (low, high), p)


def difference_of_means(metric: str, a_N: Floats | Bools, b_N: Floats | Bools, p: float) -> Difference:
    """`difference` of the means of what each row is worth."""
    return difference(metric, lambda rows: float(a_N[rows].mean()), lambda rows: float(b_N[rows].mean()), len(a_N), p)
