"""Is a value of a record a row of numbers, and what are all rows of a split like?

A row is a list of numbers, or a list of such lists, one behind the other; in CSV, the JSON of one. F values of a
vector, T vectors of a row.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from app.bundle.vectors import Floats, VectorError, VectorInput, as_floats
from training.data.rows import Row
from training.data.splits import SPLITS, Pool, Split


def to_vector(value: object) -> Floats:
    """`value` as float32 [F] or [T, F].

    Raises:
        VectorError: it is no such list, ragged, empty, or has what is not a finite number.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise VectorError(f"is a text that is not the JSON of a list of numbers: {error}") from error
    return as_floats(value)


def refuse_other_forms(pools: Mapping[Split, Pool]) -> list[str]:
    """Take the rows out that have another form or width than the first; a problem for each."""
    first = next((row for split in SPLITS for row in pools[split].rows), None)
    if first is None or first.vector is None:
        return []
    problems: list[str] = []
    for split in SPLITS:
        pool, kept = pools[split], []
        for row in pool.rows:
            if _form(row) == _form(first):
                kept.append(row)
            else:
                problems.append(f"{row.where}: is {_said(row)}, but {first.where} is {_said(first)}")
        pool.rejected += len(pool.rows) - len(kept)
        pool.rows = kept
    return problems


def statistics(rows: Sequence[Floats]) -> VectorInput:
    """What these rows are like: their form, and mean and standard deviation of each value, 1 where it never changes."""
    values_NF = np.concatenate([np.atleast_2d(row) for row in rows]).astype(np.float64)
    mean_F, std_F = values_NF.mean(axis=0).astype(np.float32), values_NF.std(axis=0).astype(np.float32)
    # Below float32's own step at the mean, what differs is the rounding of the mean.
    std_F = np.where(std_F <= np.abs(mean_F) * np.finfo(np.float32).eps, np.float32(1), std_F)
    return VectorInput(
        width=values_NF.shape[1], is_sequence=rows[0].ndim == 2, mean=mean_F.tolist(), std=std_F.tolist()
    )


def _form(row: Row) -> tuple[int, int]:
    return (0, 0) if row.vector is None else (row.vector.ndim, row.vector.shape[-1])


def _said(row: Row) -> str:
    dimensions, width = _form(row)
    return f"a sequence of vectors of {width} numbers" if dimensions == 2 else f"a vector of {width} numbers"
