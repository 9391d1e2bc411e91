"""How is the real service run for a benchmark, and what does it say about itself?

`python -m app serve` as its own process on a free port of 127.0.0.1, with the ENCODERY_ variables that are set;
stopped by its process id whatever happens. Its counters come from /metrics, its CPU time from /proc (Linux).
"""

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.connection import HOST
from benchmarks.machine import ROOT
from benchmarks.schema import ServiceFigures

SERVES_ON = re.compile(rf"serves on http://{re.escape(HOST)}:(\d+)")
SERIES = re.compile(r"^(encodery_\w+)(\{.*\})? (\S+)$", re.MULTILINE)
START_S, STOP_S, POLL_S = 180.0, 30.0, 0.005
KINDS = {"app.processes.engine": "engine", "app.processes.frontend": "front end"}
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ServiceError(Exception):
    """The service did not start; the message ends with what it printed last."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters and CPU seconds since the service started."""

    metrics: Mapping[str, float]  # by name, all series of one metric together
    cpu_s: Mapping[str, float]  # by kind of process


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is ready."""

    port: int
    pid: int
    start_s: float  # from exec to ready

    def snapshot(self) -> Snapshot:
        """What it has counted and used up to now."""
        _, body = get(self.port, "/metrics")
        metrics: defaultdict[str, float] = defaultdict(float)
        for name, _, value in SERIES.findall(body):
            metrics[name] += float(value)
        return Snapshot(metrics, cpu_seconds(self.pid))

    def device(self) -> str:
        """Where its models run."""
        found = re.search(r'encodery_model_info\{.*device="(\w+)"', get(self.port, "/metrics")[1])
        return found[1] if found else "unknown"


@contextmanager
def running(models_dir: Path) -> Iterator[Service]:
    """A service over the bundles in `models_dir`, ready; it has ended when the block has.

    Raises:
        ServiceError: it did not become ready.
    """
    environ = os.environ | {
        "ENCODERY_HOST": HOST,
        "ENCODERY_PORT": "0",
        "ENCODERY_MODELS_DIR": str(models_dir.resolve()),
    }
    with tempfile.TemporaryFile() as log:  # a file, not a pipe: nobody has to read it while the service runs
        started_s = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"], cwd=ROOT, env=environ, stdout=log, stderr=log
        )
        try:
            port = _wait_until_ready(process, log.fileno(), started_s + START_S)
            yield Service(port, process.pid, time.perf_counter() - started_s)
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


def cpu_seconds(supervisor: int) -> Mapping[str, float]:
    """CPU seconds of the service's processes by kind."""
    used = defaultdict(float, {"supervisor": _cpu(supervisor)})
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        arguments = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        kind = next((name for module, name in KINDS.items() if module in arguments), "other")
        used[kind] += _cpu(int(child))
    return used


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body of a GET."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S  # utime and stime: proc(5)


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
