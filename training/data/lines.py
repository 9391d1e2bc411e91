"""Which lines has a text file?

A line ends at LF (a CR before it belongs to the end), never at U+2028 or U+0085, so that numbers agree with an
editor's. Files are streamed; `.gz` is unpacked on the way; a UTF-8 byte order mark is dropped. A bad line is a value
with its reason and does not stop the reading; what stops it – no such file, a damaged gzip – is a `FileFault`.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_LINE_BYTES = 16 << 20  # 16 MiB; a longer line is no row of text, but a file of another kind
UTF8_MARK, UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


class FileFault(Exception):
    """A file that cannot be read on. The message is `file: reason` or `file:line: reason`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `number` counts from 1; `text` is without its end, bad bytes as lone surrogates; `problem` says what is
    wrong with it; `has_end` is false for a last line without a line break.
    """

    number: int
    text: str
    problem: str
    has_end: bool


def open_bytes(path: Path) -> BinaryIO | gzip.GzipFile:
    """The bytes of a file, unpacked if its name ends in .gz."""
    if path.suffix.lower() == ".gz":
        return gzip.GzipFile(path, "rb")
    return path.open("rb")


def lines(path: Path) -> Iterator[Line]:
    """Every line of a file.

    Raises:
        FileFault: the file cannot be read, is empty, is UTF-16, is damaged, or has a line over 16 MiB.
    """
    number = 0
    try:
        with open_bytes(path) as stream:
            while raw := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1 and raw.startswith(UTF16_MARKS):
                    raise FileFault(f"{path.name}: is UTF-16; save it as UTF-8")
                if len(raw) > MAX_LINE_BYTES:
                    raise FileFault(f"{path.name}:{number}: the line is over {MAX_LINE_BYTES >> 20} MiB")
                yield _line(number, raw.removeprefix(UTF8_MARK) if number == 1 else raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileFault(f"{path.name}:{number + 1}: the gzip data are cut or damaged here: {error}") from error
    except OSError as error:
        raise FileFault(f"{path.name}: cannot be read: {error.strerror or error}") from error
    if number == 0:
        raise FileFault(f"{path.name}: is empty")


def _line(number: int, raw: bytes) -> Line:
    has_end = raw.endswith(b"\n")
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    problem = f"has a NUL character at byte {raw.index(0) + 1} of the line" if b"\0" in raw else ""
    try:
        return Line(number, raw.decode(), problem, has_end)
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8: byte {raw[error.start]:#04x} at byte {error.start + 1} of the line"
        return Line(number, raw.decode(errors="surrogateescape"), problem, has_end)
