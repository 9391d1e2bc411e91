"""How is a peer run for a benchmark? As its own process group on a free port of 127.0.0.1, ended whatever happens."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.peers.environments import Model, Peer, PeerError, fill
from benchmarks.server import get
from benchmarks.wire import HOST

START_S, STOP_S, POLL_S = 300.0, 10.0, 0.2


@contextmanager
def running(peer: Peer, model: Model) -> Iterator[tuple[int, int]]:
    """Port and process id of a peer that answers; its whole process group has ended when the block has.

    Raises:
        PeerError: it did not start; what it printed last.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    command, cwd, environ = fill(peer, model, port)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=cwd, env=environ, stdout=log, stderr=log, start_new_session=True)
        try:
            end_s = time.monotonic() + START_S
            while not _is_up(port, peer.health):
                if process.poll() is not None or time.monotonic() > end_s:
                    log.seek(0)
                    lines = log.read().decode(errors="replace").strip().splitlines() or ["nothing"]
                    raise PeerError(f"it did not start; it printed last: {lines[-1]}")
                time.sleep(POLL_S)
            yield port, process.pid
        finally:
            _end(process)


def _is_up(port: int, path: str) -> bool:
    try:
        return get(port, path)[0] == 200
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a peer and what it has started: some leave their workers behind."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
