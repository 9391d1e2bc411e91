"""How much CPU does the engine spend on a request besides running the model?

The real engine process's parts – socket, frames, scheduler, lanes, settling – around a runner that costs nothing,
asked by a client that keeps a set number of single-text requests open, as a busy front end does. The engine's own CPU
time comes from /proc, user and system apart.

    python -m benchmarks engine-python
"""

import json
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from app.engine.core import Core
from app.engine.frames import FrameReader, Kind, pack_work
from app.engine.load import LoadedModel
from app.engine.server import EngineServer, listen
from app.types import Cost, Item, ModelKey, ModelStatus, Rows, Work
from benchmarks.machine import ROOT, origin
from benchmarks.processes import cpu_times
from benchmarks.schema import EnginePython, EnginePythonFigures

KEY = ModelKey("nothing", 1)
WIDTH, TOKENS = 384, 35
OPEN = (4, 8, 16, 32, 64)  # requests open at a time
TARGET_US = 15.0
LANES = 2


class NothingRunner:
    """Gives each row the same vector, and counts."""

    def __init__(self) -> None:
        self._vectors = np.ones((256, WIDTH), np.float32)
        self.runs = self.rows = 0

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        """See `app.types.Runner`."""
        self.runs += 1
        self.rows += len(rows)
        return {"sentence_embedding": self._vectors[: len(rows)]}


def serve(path: Path) -> None:
    """In the engine's process: answer until SIGTERM, then print what was run."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    runner = NothingRunner()
    # A price as a CPU's: rows of one length join, up to the budget.
    status = ModelStatus(KEY, "cpu", "fp32", Cost(overhead_ms=2.0, ms_per_token=0.1, lanes=LANES))
    server = EngineServer(listen(path))
    core = Core([LoadedModel(runner, runner, status, np.ones(3, np.int32))], lanes=LANES, deliver=server.deliver)
    core.start()
    server.start(core)
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    print(json.dumps({"runs": runner.runs, "rows": runner.rows}), flush=True)


def measure(requests: int, arguments: Sequence[str]) -> EnginePython:
    """The figures at each number of open requests."""
    figures = [_measure(requests, open_) for open_ in OPEN]
    return EnginePython(origin=origin(arguments), target_us=TARGET_US, requests=requests, figures=figures)


def _measure(requests: int, open_: int) -> EnginePythonFigures:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.sock"
        command = [sys.executable, "-m", "benchmarks.engine_python", str(path)]
        engine = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert engine.stdout is not None
            engine.stdout.readline()
            _ask(path, requests // 10, open_)
            before = cpu_times(engine.pid)
            started_s = time.perf_counter()
            _ask(path, requests, open_)
            seconds = time.perf_counter() - started_s
            user_s, system_s = (after - start for after, start in zip(cpu_times(engine.pid), before, strict=True))
            engine.send_signal(signal.SIGTERM)
            counted = json.loads(engine.stdout.readline())
        finally:
            engine.kill()
            engine.communicate()
    return EnginePythonFigures(
        open=open_,
        rows_mean=round(counted["rows"] / counted["runs"], 2),
        requests_per_s=round(requests / seconds, 1),
        user_us=round(1e6 * user_s / requests, 2),
        system_us=round(1e6 * system_s / requests, 2),
    )


def _ask(path: Path, requests: int, open_: int) -> None:
    """Keep `open_` requests open until `requests` are answered. No two rows are equal."""
    rng = np.random.default_rng(1)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        reader, sent, answered = FrameReader(), 0, 0
        while answered < requests:
            frames = []
            while sent < requests and sent - answered < open_:
                ids = rng.integers(0, 30_000, TOKENS, dtype=np.int32)
                frames.append(pack_work(sent, Work(KEY, [ids], time.monotonic() + 60), [KEY]))
                sent += 1
            connection.sendall(b"".join(frames))
            if not select.select([connection], [], [], 30)[0]:
                raise ValueError("the engine does not answer")
            answered += sum(kind is Kind.ANSWER for kind, _ in reader.feed(connection.recv(2**20)))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
