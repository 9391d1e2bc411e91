"""How is the real service run for a benchmark, and what does it say about itself?

`python -m app serve` (or another program that serves like it) as its own process on a free port of 127.0.0.1, with the
ENCODERY_ variables that are set; stopped by its process id whatever happens. Its counters come from /metrics, its CPU
time and memory from /proc (Linux), for the supervisor and all processes below it.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.processes import allow_connections, below, command, cpu_seconds, memory_bytes
from benchmarks.schema import ServiceFigures
from benchmarks.wire import HOST

SERVES_ON = re.compile(rf"serves on http://{re.escape(HOST)}:(\d+)")
SERIES = re.compile(r"^(encodery_\w+)(\{.*\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
START_S, STOP_S, POLL_S = 180.0, 45.0, 0.005
APP = ("app", "serve")


class ServiceError(Exception):
    """The service did not start; the message ends with what it printed last."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters and CPU seconds since the service started."""

    metrics: Mapping[str, float]  # by name, all series of one metric together
    codes: Mapping[str, int]  # requests of /embed by status
    cpu_s: Mapping[str, float]  # by kind of process


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is ready."""

    port: int
    process: subprocess.Popen[bytes]
    start_s: float  # from exec to ready

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self.process.pid

    def snapshot(self) -> Snapshot:
        """What it has counted and used up to now."""
        _, body = get(self.port, "/metrics")
        metrics: defaultdict[str, float] = defaultdict(float)
        codes: defaultdict[str, int] = defaultdict(int)
        for name, labels, value in SERIES.findall(body):
            metrics[name] += float(value)
            if name == "encodery_requests_total":
                named = dict(LABEL.findall(labels))
                codes[named["code"]] += int(float(value)) if named["route"] == "/embed" else 0
        return Snapshot(metrics, codes, cpu_seconds(self.pid))

    def engines(self) -> list[int]:
        """The process ids of its engines."""
        return [pid for pid in below(self.pid) if any("engine" in part for part in command(pid)[1:3])]

    def memory_bytes(self) -> int:
        """Memory of all its processes, what they share counted once."""
        return memory_bytes([self.pid, *below(self.pid)])

    def device(self) -> str:
        """Where its models run."""
        found = re.search(r'encodery_model_info\{.*device="(\w+)"', get(self.port, "/metrics")[1])
        return found[1] if found else "unknown"

    def plan(self, model: str) -> str:
        """The name of the plan by which it runs a model."""
        return str(json.loads(get(self.port, f"/models/{model}")[1])["plan"]["name"])

    def is_ready(self) -> bool:
        """What /ready says; False as well when nobody answers."""
        try:
            return get(self.port, "/ready", timeout_s=2.0)[0] == 200
        except OSError:
            return False


def pinned(plan: str) -> dict[str, str]:
    """The variables that pin the service to a plan."""
    return {"ENCODERY_PLAN": plan}


@contextmanager
def running(
    models_dir: Path, environ: Mapping[str, str] | None = None, program: Sequence[str] = APP
) -> Iterator[Service]:
    """A service over the bundles in `models_dir`, ready; it has ended when the block has.

    `program` is a module and its arguments, and is given the address by variables.

    Raises:
        ServiceError: it did not become ready.
    """
    allow_connections()
    variables = {
        "ENCODERY_HOST": HOST,
        "ENCODERY_PORT": "0",
        "ENCODERY_MODELS_DIR": str(models_dir.resolve()),
    }
    with tempfile.TemporaryFile() as log:  # a file, not a pipe: nobody has to read it while the service runs
        started_s = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *program],
            cwd=ROOT,
            env=os.environ | variables | dict(environ or {}),
            stdout=log,
            stderr=log,
        )
        try:
            port = _wait_until_ready(process, log.fileno(), started_s + START_S)
            yield Service(port, process, time.perf_counter() - started_s)
        finally:
            _stop(process)


def between(before: Snapshot, after: Snapshot) -> ServiceFigures:
    """What happened between two snapshots."""
    metrics = {name: after.metrics[name] - before.metrics[name] for name in after.metrics}
    tokens, padded = metrics["encodery_tokens_total"], metrics["encodery_padded_tokens_total"]
    runs, rows = metrics["encodery_batch_rows_count"], metrics["encodery_batch_rows_sum"]
    queued, waits = metrics["encodery_queue_seconds_sum"], metrics["encodery_queue_seconds_count"]
    return ServiceFigures(
        tokens=int(tokens),
        padded_tokens=int(padded),
        waste=round(1 - tokens / padded, 4) if padded else 0.0,
        runs=int(runs),
        rows_mean=round(rows / runs, 2) if runs else 0.0,
        queue_ms_mean=round(1000 * queued / waits, 3) if waits else 0.0,
        cpu_s={kind: round(used - before.cpu_s.get(kind, 0.0), 2) for kind, used in sorted(after.cpu_s.items())},
    )


def get(port: int, path: str, timeout_s: float = 30.0) -> tuple[int, str]:
    """Status and body of a GET."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except http.client.HTTPException as error:  # cut off while it answered
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def _wait_until_ready(process: subprocess.Popen[bytes], log: int, end_s: float) -> int:
    """The port, once /ready answers 200."""
    port: int | None = None
    while time.perf_counter() < end_s and process.poll() is None:
        if port is None and (found := SERVES_ON.search(_printed(log))):
            port = int(found[1])
        if port is not None and get(port, "/ready")[0] == 200:
            return port
        time.sleep(POLL_S)
    lines = _printed(log).strip().splitlines() or ["nothing"]
    raise ServiceError(f"the service was not ready after {START_S:.0f} s, or ended; it printed last: {lines[-1]}")


def _printed(log: int) -> str:
    return os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
