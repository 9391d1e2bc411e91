"""An engine that costs nothing: it answers at once with random rows, or never.

    python -m benchmarks.zero_engine --socket PATH --output NAME --width W [--never] NAME@VERSION

Real frames over a real Unix socket, so that what a front end spends on them is in its figures. With `--never` it takes
requests and keeps them, and says that a run is dear: the front end's predicted wait is then over any limit as soon as
one request is in the house.
"""

import argparse
import asyncio
from pathlib import Path

import numpy as np
import uvloop

from app.engine.server import EngineServer, listen
from app.types import Answer, Cost, EngineStatus, ModelKey, ModelStatus, Rows, Timing, Work

CHEAP = Cost(overhead_ms=0.001, ms_per_token=0.0001, lanes=2)
DEAR = Cost(overhead_ms=1000.0, ms_per_token=1000.0, lanes=1)


class ZeroEngine:
    """Keeps `app.types.Engine`."""

    def __init__(self, key: ModelKey, output: str, width: int, *, never: bool) -> None:
        self._status = EngineStatus(True, [ModelStatus(key, "cpu", "fp32", DEAR if never else CHEAP)])
        self._output = output
        self._never = never
        self._rows: Rows = np.random.default_rng(0).standard_normal((4096, width)).astype(np.float32)

    def status(self) -> EngineStatus:
        """Always ready."""
        return self._status

    async def submit(self, work: Work) -> Answer:
        """A row of random numbers for each text."""
        if self._never:
            await asyncio.Event().wait()
        return Answer({self._output: self._rows[: len(work.rows)]}, Timing(0.0, 0.0))


async def _serve(engine: ZeroEngine, path: Path) -> None:
    server = EngineServer(engine)
    await server.start(listen(path))
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="benchmarks.zero_engine")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--never", action="store_true")
    parser.add_argument("model", metavar="NAME@VERSION")
    arguments = parser.parse_args()
    name, version = arguments.model.rsplit("@", 1)
    key = ModelKey(name, int(version))
    uvloop.run(_serve(ZeroEngine(key, arguments.output, arguments.width, never=arguments.never), arguments.socket))


if __name__ == "__main__":
    main()
