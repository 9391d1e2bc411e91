"""What is a record, and what does it say when it is not one?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.data.lines import FileFault

CUT = "; the file ends without a line break here: is it cut?"


@dataclass(frozen=True, slots=True)
class Record:
    """One row as read: `values` by column name, or a `problem` and no values."""

    where: str
    values: Mapping[str, object]
    problem: str = ""


def check_header(where: str, header: list[str], wanted: Sequence[str]) -> list[str]:
    """`header`, which has each `wanted` column once.

    Raises:
        FileFault: it has not.
    """
    for name in wanted:
        if header.count(name) != 1:
            wrong = f'no column "{name}"' if name not in header else f'{header.count(name)} columns "{name}"'
            raise FileFault(f"{where}: {wrong}; the header has: {', '.join(header)}; name yours in [data.columns]")
    return header


def kind_of(value: object) -> str:
    """What a value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return f"a number ({value})"
        case str():
            return "a text"
        case dict():
            return "an object"
        case list():
            return "a list"
    return f"of type {type(value).__name__}"
