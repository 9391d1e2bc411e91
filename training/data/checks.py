"""Is a record a row, and what became of the rows of a run?

A text or a label is a string that is not blank, has no NUL and no half of a surrogate pair (no tokenizer takes one).
Blanks around a label are dropped: " billing" and "billing" are one class. A list of one label is that label; where a
row may have several, a list may hold any number of them, and none. A value is a finite number.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from app.bundle.vectors import Floats, VectorError
from training.data.findings import Check, Finding, places
from training.data.records import Record, kind_of
from training.data.rows import Row, Splits
from training.data.vectors import to_vector
from training.recipe.data import Columns
from training.recipe.heads import RowKind

SHOWN_LABELS, SHOWN_LETTERS = 3, 40
LARGEST = 1e30  # of a number: float32 ends at 3e38, and squares of errors are summed
HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")
WHAT: Mapping[Check, str] = {
    "duplicate": "rows with the text of another of their split",
    "overlap": "rows with the text of a row of another split",
    "conflict": "rows with the text of another under another label",
    "several labels": "rows with several labels",
    "apart": "rows of train that share a text with a split they are kept apart from",
    "shared text": "rows of train that share a text with dev or test",
    "near": "texts of dev or test nearly the same as one of train",
    "over-long": "rows longer than the model reads",
}
FATE: Mapping[Check, str] = {
    "duplicate": "dropped",
    "overlap": "dropped",
    "several labels": "left out",
    "apart": "left out",
    "shared text": "which data.apart_from leaves out",
    "over-long": "whose end is cut",
}
KEPT: Sequence[Check] = ("duplicate", "overlap", "conflict")  # in published splits


class BadValue(ValueError):
    """A value of a record cannot be used; the message is the reason."""


class SeveralLabels(BadValue):
    """A record has more than one label."""


def wanted_columns(columns: Columns, task: RowKind) -> list[str]:
    """The columns that a row of this task has."""
    read = columns.vector or columns.text
    if task == "regression":
        return [read, columns.value]
    if task != "embed":
        return [read, columns.label]
    return [columns.text, columns.positive, *(name for name in (columns.negative, columns.score) if name)]


def to_row(record: Record, columns: Columns, task: RowKind, label_separator: str | None = None) -> Row:
    """The row of a record. `label_separator` parts the labels of a multi-label row that come as one text.

    Raises:
        SeveralLabels: it has more labels than the one that is asked for.
        BadValue: the record could not be read, lacks a column, or a value is not a text.
    """
    if record.problem:
        raise BadValue(record.problem)
    vector = None if columns.vector is None else _vector(record, columns.vector)
    text = _text(record, columns.text) if vector is None else ""
    if task == "classify":
        return Row(text, record.where, label=_label(record, columns.label), vector=vector)
    if task == "multi_label":
        return Row(text, record.where, labels=_labels(record, columns.label, label_separator), vector=vector)
    if task == "regression":
        return Row(text, record.where, value=_number(record, columns.value), vector=vector)
    has_none = columns.negative is None or record.values.get(columns.negative, "") is None  # null: no hard one is known
    negative = None if has_none else _text(record, columns.negative or "")
    score = _number(record, columns.score) if columns.score else None
    return Row(text, record.where, positive=_text(record, columns.positive), negative=negative, score=score)


def to_text(record: Record, column: str) -> str:
    """The text of a record that is no row.

    Raises:
        BadValue: the record could not be read, lacks the column, or its value is not a text.
    """
    if record.problem:
        raise BadValue(record.problem)
    return _text(record, column)


def _label(record: Record, column: str) -> str:
    value = record.values.get(column)
    if isinstance(value, list):
        if len(value) > 1:
            way_out = "data.one_label_only = true leaves such rows out"
            raise SeveralLabels(f'"{column}" is a list of {len(value)} labels, and a row has one; {way_out}')
        if not value:
            raise BadValue(f'"{column}" is a list without a label')
        record = Record(record.where, {column: value[0]})
    return _name(record, column)


def _labels(record: Record, column: str, separator: str | None) -> tuple[str, ...]:
    """The labels, sorted; there may be none."""
    value = _value(record, column)
    if isinstance(value, str) and separator is not None:
        value = value.split(separator) if value.strip() else []
    if not isinstance(value, list):
        way_out = "; data.label_separator parts a text" if isinstance(value, str) else ""
        raise BadValue(f'"{column}" is {kind_of(value)}, not a list of labels{way_out}')
    labels = sorted(_name(Record(record.where, {column: each}), column) for each in value)
    if twice := next((one for one, next_one in pairwise(labels) if one == next_one), None):
        raise BadValue(f'"{column}" has the label "{twice}" twice')
    return tuple(labels)


def _name(record: Record, column: str) -> str:
    """A label, one object for all rows that have it: a million rows have few labels."""
    return sys.intern(_text(record, column).strip())


def _number(record: Record, column: str) -> float:
    """A finite number, or the text of one, as CSV has it."""
    value = _value(record, column)
    if isinstance(value, str):
        value = _text(record, column)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(f'"{column}" is {kind_of(value)}, not a number')
    try:
        number = float("_" if "_" in str(value) else value)  # Python would take 1_000
    except (ValueError, OverflowError):
        raise BadValue(f'"{column}" is not a number: {str(value)[:SHOWN_LETTERS]!r}') from None
    if not math.isfinite(number):
        raise BadValue(f'"{column}" is {number}, not a finite number')
    if abs(number) > LARGEST:
        raise BadValue(f'"{column}" is {number:g}; numbers go up to {LARGEST:g}')
    return number


def _vector(record: Record, column: str) -> Floats:
    try:
        return to_vector(_value(record, column))
    except VectorError as error:
        raise BadValue(f'"{column}" {error}') from error


def _value(record: Record, column: str) -> object:
    if column not in record.values:
        there = ", ".join(record.values) or "none"
        raise BadValue(f'no key "{column}"; its keys: {there}')
    return record.values[column]


def _text(record: Record, column: str) -> str:
    value = _value(record, column)
    if not isinstance(value, str):
        raise BadValue(f'"{column}" is {kind_of(value)}, not a text')
    if not value or value.isspace():
        raise BadValue(f'"{column}" is {"blank" if value else "empty"}')
    if "\0" in value:
        raise BadValue(f'"{column}" has a NUL character')
    if not value.isascii() and HALF_OF_A_PAIR.search(value):
        raise BadValue(f'"{column}" has half of a surrogate pair')
    return value


def describe(splits: Splits) -> list[str]:
    """Lines for a person: what became of the rows of each split, what was found, the classes with the fewest and most
    rows.
    """
    report = [f"{name}: {counts}" for name, counts in splits.counts.items()]
    report += [said(splits, check, findings) for check, findings in splits.findings.items() if findings]
    if splits.labels:
        rows_of = Counter({label: 0 for label in splits.labels})
        rows_of.update(label for row in splits.train for label in row.all_labels)
        ordered = sorted(rows_of.items(), key=lambda item: (item[1], item[0]))
        report.append(f"{len(ordered)} labels in train; fewest rows: {_list(ordered[:SHOWN_LABELS])}")
        report.append(f"most rows: {_list(ordered[::-1][:SHOWN_LABELS])}")
    values = sorted(row.value for row in splits.train if row.value is not None)
    if values:
        middle = values[len(values) // 2]
        report.append(f"values in train: from {values[0]:g} to {values[-1]:g}, half of them up to {middle:g}")
    return report


def said(splits: Splits, check: Check, findings: Sequence[Finding]) -> str:
    """A line on what one check found."""
    rows_in = sum(counts.rows_in for counts in splits.counts.values())
    return f"{what(splits, check)}: {len(findings):,} of {rows_in:,} – {places(findings)}"


def what(splits: Splits, check: Check) -> str:
    """What a check counts, and what becomes of it."""
    fate = "kept as published" if splits.as_published and check in KEPT else FATE.get(check)
    found = WHAT[check].replace("text", "vector") if splits.is_of_vectors else WHAT[check]
    return found + (f", {fate}" if fate else "")


def _list(ordered: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{label} {rows:,}" for label, rows in ordered)
