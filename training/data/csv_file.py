"""Which records has a CSV or TSV file?

A header line, then RFC 4180: a quoted value may hold the delimiter, quotes (doubled) and line breaks. A record is named
by the line it starts on, a bad byte by its own. Empty lines are no rows.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.data.lines import FileFault, Line, lines
from training.data.records import CUT, Record, check_header


def read_csv(path: Path, wanted: Sequence[str], *, delimiter: str) -> Iterator[Record]:
    """See `files.read`."""
    feed = _Feed(lines(path))
    header: list[str] = []  # rows that are empty never come here, so the first row fills it
    for start, cells, problem in _rows(feed, delimiter):
        where = f"{path.name}:{start}"
        if not header:
            if problem:
                raise FileFault(f"{where}: {problem}")
            header = check_header(where, cells, wanted)
        elif problem:
            yield Record(where, {}, problem)
        elif len(cells) != len(header):
            reason = f"has {_columns(len(cells))}, the header has {len(header)}"
            hint = "; quote a text that holds the delimiter" if len(cells) > len(header) else ""
            yield Record(where, {}, reason + (CUT if feed.is_cut else hint))
        else:
            yield Record(where, dict(zip(header, cells, strict=True)))
    if not header:
        raise FileFault(f"{path.name}: is empty")


class _Feed:
    """Lines for `csv.reader`, remembering which were read and what was wrong with them."""

    def __init__(self, source: Iterator[Line]) -> None:
        self._source = source
        self.last: Line | None = None
        self._bad: Line | None = None

    def __iter__(self) -> Iterator[str]:
        for line in self._source:
            self.last = line
            if line.problem and self._bad is None:
                self._bad = line
            yield line.text + "\n"

    def take_bad(self) -> Line | None:
        """The first bad line since this was last asked."""
        bad, self._bad = self._bad, None
        return bad

    @property
    def is_cut(self) -> bool:
        return self.last is not None and not self.last.has_end


def _rows(feed: _Feed, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Each row that is not empty: the line to name, its cells, its problem."""
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        start = feed.last.number + 1 if feed.last else 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            feed.take_bad()
            yield start, [], f"is not CSV: {_why(error)}"
            continue
        if bad := feed.take_bad():
            yield bad.number, cells, bad.problem
        elif cells:
            yield start, cells, ""


def _why(error: csv.Error) -> str:
    reason = str(error)
    if reason == "unexpected end of data":
        return "a quote that opens in this row is never closed"
    if reason.startswith("field larger than field limit"):
        return f"a value has over {csv.field_size_limit():,} characters; is a quote not closed?"
    if reason.startswith("new-line character"):
        return "a carriage return stands alone; end lines with LF or CRLF, or quote the value"
    return reason


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"
