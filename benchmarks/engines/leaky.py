"""An engine that keeps a little of every row it runs: what the watch over memory must catch."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.engine.load import LoadedModel
from app.processes import engine
from app.types import Item, Rows, Runner

LEAK_BYTES = 256  # a row: 2.5 MB in 10,000 requests


class LeakyRunner:
    """Keeps `app.types.Runner`, and everything else."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._kept: list[bytearray] = []

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        """What the runner beneath returns."""
        self._kept.append(bytearray(b"x") * (LEAK_BYTES * len(rows)))
        return self._runner.run(rows)


def leaky(model: LoadedModel) -> LoadedModel:
    """The model with the leak."""
    return replace(model, lane=LeakyRunner(model.lane), wide=LeakyRunner(model.wide))


if __name__ == "__main__":
    sys.exit(engine.main(leaky))
