"""Is a model as good on one kind of rows as on another?

Figures by the values of the columns that `data.slices` names. N rows.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.rows import Row

Ints = NDArray[np.int64]
FEW = 30  # rows: under that, an interval is as wide as half of the scale


def by_slice(
    columns: Sequence[str], rows: Sequence[Row], figures: Callable[[Ints], Mapping[str, object]]
) -> dict[str, list[dict[str, object]]]:
    """By column, each value with its rows and `figures` of them, the value with most rows first. `is_few`: so few that
    the figures say little.
    """
    found: dict[str, list[dict[str, object]]] = {}
    for place, column in enumerate(columns):
        counts = Counter(row.slices[place] for row in rows)
        found[column] = []
        for value, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            inside_N = np.flatnonzero([row.slices[place] == value for row in rows])
            found[column].append({"value": value, "rows": count, "is_few": count < FEW, **figures(inside_N)})
    return found
