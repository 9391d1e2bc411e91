"""Which texts need not be run again?

A bounded memory of outputs, off by default. The key is a model version and the exact token ids, and every option of a
request works either before (truncation, prompts: they change the ids) or after (normalising, cutting, temperature) what
is kept here, so an entry is right for every request that has its key. Least recently used entries go first. Failures
are never kept. Not thread-safe.
"""

from collections import OrderedDict
from collections.abc import Mapping

from app.engine.jobs import RowKey
from app.types import Rows

ENTRY_BYTES = 400  # the dictionary slots, the tuple and the array headers of one entry, measured with tracemalloc


class RowCache:
    """Outputs [1, D] by name of the rows that ran last, `max_bytes` of them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rows: OrderedDict[RowKey, Mapping[str, Rows]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: RowKey) -> Mapping[str, Rows] | None:
        """The outputs of a row that ran, or None."""
        if (outputs := self._rows.get(key)) is not None:
            self._rows.move_to_end(key)
        return outputs

    def put(self, key: RowKey, outputs: Mapping[str, Rows], row: int) -> None:
        """Keep row `row` of a batch, as a copy of its own."""
        if self._max_bytes == 0 or key in self._rows:
            return
        self._rows[key] = {name: rows_BD[row : row + 1].copy() for name, rows_BD in outputs.items()}
        self.size_bytes += _size_bytes(key, self._rows[key])
        while self.size_bytes > self._max_bytes:
            self.size_bytes -= _size_bytes(*self._rows.popitem(last=False))


def _size_bytes(key: RowKey, outputs: Mapping[str, Rows]) -> int:
    return len(key[1]) + ENTRY_BYTES + sum(row_1D.nbytes for row_1D in outputs.values())
