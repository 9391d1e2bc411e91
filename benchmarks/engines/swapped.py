"""An engine that now and then gives callers each other's rows: what a ledger of right answers must catch."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

from app.engine.load import LoadedModel
from app.processes import engine
from app.types import Item, Rows, Runner

EVERY = 20  # runs of several rows


class SwappedRunner:
    """Keeps `app.types.Runner`, but for the order of rows in one run of `EVERY`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._runs = count(1)

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        """What the runner beneath returns, at times from the last row to the first."""
        outputs = self._runner.run(rows)
        if len(rows) > 1 and next(self._runs) % EVERY == 0:
            return {name: rows_BD[::-1].copy() for name, rows_BD in outputs.items()}
        return outputs


def swapped(model: LoadedModel) -> LoadedModel:
    """The model with the fault."""
    return replace(model, lane=SwappedRunner(model.lane), wide=model.wide)


if __name__ == "__main__":
    sys.exit(engine.main(swapped))
