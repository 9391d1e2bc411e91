"""Which records has a JSONL file?

One object a line (RFC 8259: no NaN, and here no key twice). Empty lines are no rows.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.data.lines import FileFault, Line, lines
from training.data.records import CUT, Record, kind_of


def read_jsonl(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    """See `files.read`. The keys are looked at with the values: rows may differ in theirs."""
    has_rows = False
    for line in lines(path):
        if line.text.strip() or line.problem:
            has_rows = True
            yield _parse_json(f"{path.name}:{line.number}", line)
    if not has_rows:
        raise FileFault(f"{path.name}: is empty")


def _parse_json(where: str, line: Line) -> Record:
    if line.problem:
        return Record(where, {}, line.problem)
    try:
        value = json.loads(line.text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        reason = f"is not JSON: {error.msg} at character {error.pos + 1}"
        return Record(where, {}, reason + ("" if line.has_end else CUT))
    except (ValueError, RecursionError) as error:
        return Record(where, {}, f"is not JSON: {error}")
    if not isinstance(value, dict):
        return Record(where, {}, f"is {kind_of(value)}, not an object")
    return Record(where, value)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f'the key "{next(key for key in keys if keys.count(key) > 1)}" stands there twice')
    return table


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON value")
