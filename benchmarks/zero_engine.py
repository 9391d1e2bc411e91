"""An engine that costs nothing: it answers at once with random rows, or never.

    python -m benchmarks.zero_engine --socket PATH --width W [--never] NAME@VERSION

Real frames over a real Unix socket, so that what a front end spends on them is in its figures. With `--never` it takes
requests and keeps them, and says that a run is dear: a front end's predicted wait is then over any limit as soon as one
request is in the house.
"""

import argparse
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.engine.core import Core, Deliver
from app.engine.jobs import Job
from app.engine.server import BEAT_S, EngineServer, listen
from app.types import Answer, Cost, EngineStatus, ModelKey, ModelStatus, Rows, Timing

CHEAP = Cost(overhead_ms=0.001, ms_per_token=0.0001, lanes=2)
DEAR = Cost(overhead_ms=1000.0, ms_per_token=1000.0, lanes=1)
ROWS_MAX = 4096


class ZeroCore(Core):
    """A core without lanes: whoever submits delivers, too."""

    def __init__(self, key: ModelKey, width: int, deliver: Deliver, *, never: bool) -> None:
        super().__init__([], lanes=0, deliver=deliver)
        self._status = EngineStatus(True, [ModelStatus(key, "cpu", "fp32", DEAR if never else CHEAP)])
        self._answers = not never
        self._rows_BD: Rows = np.random.default_rng(0).standard_normal((ROWS_MAX, width)).astype(np.float32)

    def status(self) -> EngineStatus:
        """Always ready."""
        return self._status

    def submit(self, jobs: Sequence[Job]) -> None:
        """Answer every text with a row of random numbers, in each output that is wanted."""
        if not self._answers:
            return
        for job in jobs:
            outputs = {name: self._rows_BD[: len(job.work.rows)] for name in job.work.outputs}
            job.outcome = Answer(outputs, Timing(0.0, 0.0))
        self._deliver(jobs)

    def drop(self, job: Job) -> None:
        """There is nothing to give back."""


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="benchmarks.zero_engine")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--never", action="store_true")
    parser.add_argument("model", metavar="NAME@VERSION")
    arguments = parser.parse_args()
    name, version = arguments.model.rsplit("@", 1)
    server = EngineServer(listen(arguments.socket))
    server.start(ZeroCore(ModelKey(name, int(version)), arguments.width, server.deliver, never=arguments.never))
    beating = threading.Event()
    while not beating.wait(BEAT_S):
        server.beat()


if __name__ == "__main__":
    main()
