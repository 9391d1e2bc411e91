"""Which records has a Parquet file?

A record is named by its row, counted from 1.
"""

import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.data.lines import FileFault, open_bytes
from training.data.records import Record, check_header


def read_parquet(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    """See `files.read`."""
    import pyarrow  # on use: 0.2 s that other files need not pay
    import pyarrow.parquet

    try:
        with tempfile.TemporaryFile() as unpacked:
            if path.suffix.lower() == ".gz":  # Parquet is read from its end, which gzip cannot seek to
                with open_bytes(path) as packed:
                    shutil.copyfileobj(packed, unpacked)
            table = pyarrow.parquet.ParquetFile(unpacked if path.suffix.lower() == ".gz" else path)
            check_header(path.name, table.schema_arrow.names, wanted)
            number = 0
            for batch in table.iter_batches(columns=list(wanted)):
                for index in range(batch.num_rows):
                    number += 1
                    yield _parquet_record(f"{path.name}:{number}", batch, index)
    except (OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
        raise FileFault(f"{path.name}: cannot be read as Parquet: {error}") from error
    if number == 0:
        raise FileFault(f"{path.name}: is empty")


def _parquet_record(where: str, batch: Any, index: int) -> Record:  # noqa: ANN401 - pyarrow has no types
    try:
        return Record(where, {name: batch[name][index].as_py() for name in batch.schema.names})
    except UnicodeDecodeError as error:
        return Record(where, {}, f"is not UTF-8: byte {error.object[error.start]:#04x}")
