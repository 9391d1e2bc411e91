"""Is a record a row, and what are the rows of a run like?

A text or a label is a string that is not blank, has no NUL and no half of a surrogate pair (no tokenizer takes one).
Blanks around a label are dropped: " billing" and "billing" are one class.
"""

from collections import Counter
from collections.abc import Sequence

from training.data.records import Record, kind_of
from training.data.rows import Row, Splits
from training.recipe import Columns

SHOWN_LABELS = 3


class BadValue(ValueError):
    """A value of a record cannot be used; the message is the reason."""


def wanted_columns(columns: Columns, task: str) -> list[str]:
    """The columns that a row of this task has."""
    if task == "classify":
        return [columns.text, columns.label]
    return [columns.text, columns.positive, *([columns.negative] if columns.negative else [])]


def to_row(record: Record, columns: Columns, task: str) -> Row:
    """The row of a record.

    Raises:
        BadValue: the record could not be read, lacks a column, or a value is not a text.
    """
    if record.problem:
        raise BadValue(record.problem)
    text = _text(record, columns.text)
    if task == "classify":
        return Row(text, record.where, label=_text(record, columns.label).strip())
    negative = _text(record, columns.negative) if columns.negative else None
    return Row(text, record.where, positive=_text(record, columns.positive), negative=negative)


def _text(record: Record, column: str) -> str:
    if column not in record.values:
        there = ", ".join(record.values) or "none"
        raise BadValue(f'no key "{column}"; its keys: {there}')
    value = record.values[column]
    if not isinstance(value, str):
        raise BadValue(f'"{column}" is {kind_of(value)}, not a text')
    if not value.strip():
        raise BadValue(f'"{column}" is {"blank" if value else "empty"}')
    if "\0" in value:
        raise BadValue(f'"{column}" has a NUL character')
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadValue(f'"{column}" has half of a surrogate pair')
    return value


def describe(splits: Splits) -> list[str]:
    """Lines for a person: what became of the rows of each split, and the classes with the fewest and most rows."""
    report = [f"{name}: {counts}" for name, counts in splits.counts.items()]
    if splits.labels:
        rows_of = Counter({label: 0 for label in splits.labels})
        rows_of.update(row.label for row in splits.train if row.label is not None)
        ordered = sorted(rows_of.items(), key=lambda item: (item[1], item[0]))
        report.append(f"{len(ordered)} labels in train; fewest rows: {_list(ordered[:SHOWN_LABELS])}")
        report.append(f"most rows: {_list(ordered[::-1][:SHOWN_LABELS])}")
    return report


def _list(ordered: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{label} {rows:,}" for label, rows in ordered)
