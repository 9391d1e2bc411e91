"""How far might a figure be off, because other rows could as well have been in the test split?

The percentile bootstrap (Efron 1979): rows are drawn with replacement as often as there are rows, the figure is
computed of each draw, and 95 % of those figures lie in the interval. It knows rows, not seeds: how much another seed of
training changes, only other runs tell. N rows.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
DRAWS = 1000
TAIL = 2.5  # percent on either side


def interval(figure: Callable[[Ints], float], rows: int, seed: int = 0) -> list[float]:
    """Both ends of the 95 % interval of `figure`, which is computed of row numbers [N] that may repeat."""
    generator = np.random.default_rng(seed)
    found = [figure(generator.integers(0, rows, rows)) for _ in range(DRAWS)]
    return [float(end) for end in np.percentile(found, [TAIL, 100 - TAIL])]
