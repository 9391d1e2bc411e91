"""By which values of a column shall figures be told apart?

`data.slices` names columns. Up to fifty different values are slices as they are; more, if all are numbers, become four
ranges with about as many rows each; more of anything else are refused, for hardly two rows would share one.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.data.checks import BadValue
from training.data.records import Record, kind_of
from training.data.rows import Row

MOST, RANGES = 50, 4
NONE = "none"  # of a row without a value


def values_of(record: Record, columns: Sequence[str]) -> tuple[str, ...]:
    """The value of each column.

    Raises:
        BadValue: the record lacks a column, or has several values in it.
    """
    return tuple(_value(record, column) for column in columns)


def sliced(rows: Sequence[Row], columns: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Rows whose values are few enough, and a problem for each column that has too many."""
    problems: list[str] = []
    by_column: list[Sequence[str]] = []
    for place, column in enumerate(columns):
        values = [row.slices[place] for row in rows]
        different = len(set(values))
        ranges = _ranges(values) if different > MOST else values
        if ranges is None:
            problems.append(
                f'data.slices: "{column}" has {different:,} different values in test; up to {MOST} can be told apart, '
                "or any number of numbers"
            )
        else:
            by_column.append(ranges)
    if problems:
        return list(rows), problems
    return [replace(row, slices=values) for row, values in zip(rows, zip(*by_column, strict=True), strict=True)], []


def _value(record: Record, column: str) -> str:
    if column not in record.values:
        there = ", ".join(record.values) or "none"
        raise BadValue(f'no key "{column}", which data.slices names; its keys: {there}')
    value = record.values[column]
    if value is None or (isinstance(value, str) and not value.strip()):
        return NONE
    if isinstance(value, list | dict):
        raise BadValue(f'"{column}" is {kind_of(value)}; a row is in one slice of a column')
    return " ".join(str(value).split())


def _ranges(values: Sequence[str]) -> list[str] | None:
    """The range each value is in; None if some are no numbers."""
    try:
        numbers_N = np.array([np.nan if value == NONE else float(value) for value in values])
    except ValueError:
        return None
    known_N = numbers_N[~np.isnan(numbers_N)]
    if not np.isfinite(known_N).all():
        return None
    ends = np.unique(np.quantile(known_N, np.linspace(0, 1, RANGES + 1)[1:], method="higher"))
    names = []
    for place, end in enumerate(ends):
        inside = known_N[(known_N <= end) & (known_N > (ends[place - 1] if place else -np.inf))]
        names.append(f"{inside.min():g} to {inside.max():g}")
    return [NONE if np.isnan(number) else names[int(np.searchsorted(ends, number))] for number in numbers_N]
