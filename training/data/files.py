"""Which records does a data file hold?

CSV and TSV, JSONL and Parquet, each also as .gz, told by the end of the name. Each row comes out as one `Record`: its
values by column, or the problem with it; nothing is skipped but empty lines.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from training.data.csv_file import read_csv
from training.data.jsonl_file import read_jsonl
from training.data.lines import FileFault
from training.data.parquet_file import read_parquet
from training.data.records import Record

READERS: dict[str, Callable[[Path, Sequence[str]], Iterator[Record]]] = {
    ".csv": partial(read_csv, delimiter=","),
    ".tsv": partial(read_csv, delimiter="\t"),
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}


def read(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    """The records of a file; each has the `wanted` columns, unless it says otherwise.

    Raises:
        FileFault: the file cannot be read, is of an unknown kind, or lacks a wanted column.
    """
    kind = path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if path.is_dir():
        raise FileFault(f"{path.name or path}: is a folder; name a data file in it")
    reader = READERS.get(kind)
    if reader is None:
        known = ", ".join(READERS)
        raise FileFault(f'{path.name}: "{kind}" is not a kind of data file; known are {known}, each also with .gz')
    yield from reader(path, wanted)
