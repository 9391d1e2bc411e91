"""An engine whose run takes a set time and no CPU: how the rest behaves when only the engine is slow.

Its vectors follow from the token ids alone, so that anybody who has the tokenizer knows the right answer.

B rows, D dimensions.
"""

import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from app.engine.load import LoadedModel
from app.processes import engine
from app.types import Item, Rows

OVERHEAD_MS, MS_PER_TOKEN = 1.0, 3.0  # some 100 texts of ten tokens a second on three lanes


class FixedRunner:
    """Keeps `app.types.Runner`."""

    def __init__(self, widths: Mapping[str, int], *, overhead_ms: float, ms_per_token: float) -> None:
        self._widths = dict(widths)
        self._overhead_ms, self._ms_per_token = overhead_ms, ms_per_token

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        """Each output [B, D], after the time that the padded batch is priced at."""
        time.sleep((self._overhead_ms + len(rows) * max(map(len, rows)) * self._ms_per_token) / 1000)
        return {name: np.stack([vector(row, width) for row in rows]) for name, width in self._widths.items()}


def vector(ids: Item, width: int) -> Rows:
    """The answer [D] to these tokens."""
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(ids, np.int32).tobytes()))
    return rng.standard_normal(width, np.float32)


def fixed(model: LoadedModel) -> LoadedModel:
    """The model at a set price."""
    widths = {name: rows_BD.shape[1] for name, rows_BD in model.lane.run([model.probe]).items()}
    runner = FixedRunner(widths, overhead_ms=OVERHEAD_MS, ms_per_token=MS_PER_TOKEN)
    cost = replace(model.status.cost, overhead_ms=OVERHEAD_MS, ms_per_token=MS_PER_TOKEN)
    return replace(model, lane=runner, wide=runner, status=replace(model.status, cost=cost))


if __name__ == "__main__":
    sys.exit(engine.main(fixed))
