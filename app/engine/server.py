"""How does an engine answer front ends?

Threads and plain sockets, no event loop: a thread for each connection reads frames and submits them; the lane that ends
a batch packs its answers and writes them itself, all of one connection in one write. A front end that does not read
holds up nobody: what its socket does not take at once waits in a bounded backlog, which a thread of its own writes. A
STATUS frame goes out on connect and with every `beat`.
"""

import contextlib
import logging
import select
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from app.engine.core import Core
from app.engine.frames import (
    FrameError,
    FrameReader,
    Kind,
    pack_answer,
    pack_failure,
    pack_status,
    unpack_cancel,
    unpack_work,
)
from app.engine.jobs import Job
from app.errors import ApiError, InternalError
from app.types import Answer, ModelKey

log = logging.getLogger(__name__)

BEAT_S = 0.25  # front ends know within 2 s that an engine is silent (app/engine/link.py)
READ_BYTES = 2**18
BACKLOG_BYTES_MAX = 2**27  # of answers that wait for a front end; one answer may have more by itself
STALLED_S = 5.0  # a front end that has taken nothing of more than that for so long is taken for dead
DRAIN_POLL_S = 0.005


def listen(path: Path) -> socket.socket:
    """A socket at `path` that only this user may open. A dead engine's socket there is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()
    return listener


class Peer:
    """The engine's end of one front end's connection, and the jobs that it waits for."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._backlog = bytearray()
        self._taken_s = time.monotonic()  # when the socket last took something
        self._is_draining = False  # whether a thread writes the backlog
        self.jobs: dict[int, Job] = {}

    def receive(self) -> bytes:
        """What has come; empty when the front end is gone."""
        try:
            return self._socket.recv(READ_BYTES)
        except OSError:  # reset, or closed from this side
            return b""

    def send(self, data: bytes) -> None:
        """Write without ever waiting; what the socket does not take now goes out as soon as it can."""
        with self._sending:
            if self._is_stalled():
                log.error("a front end does not read: %d bytes wait for it; it is cut off", len(self._backlog))
                self._backlog.clear()
                self.close()
                return
            self._backlog += data
            if not self._is_draining and not self._write():
                self._is_draining = True
                threading.Thread(target=self._drain, name="drain", daemon=True).start()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is owed: no job, no byte."""
        return not self.jobs and not self._backlog

    def close(self) -> None:
        """End the connection; the reading thread sees it."""
        with contextlib.suppress(OSError):  # the front end may have gone before
            self._socket.shutdown(socket.SHUT_RDWR)

    def dispose(self) -> None:
        """Give the socket back; what is sent from now on goes nowhere."""
        with self._sending:
            self._socket.close()

    def _is_stalled(self) -> bool:
        return len(self._backlog) > BACKLOG_BYTES_MAX and time.monotonic() - self._taken_s > STALLED_S

    def _write(self) -> bool:
        """Write what the socket takes; true when nothing is left. The caller holds the lock."""
        try:
            while self._backlog:
                del self._backlog[: self._socket.send(self._backlog, socket.MSG_DONTWAIT)]
                self._taken_s = time.monotonic()
        except BlockingIOError:
            return False
        except OSError:  # the front end is gone: its reading thread cleans up
            self._backlog.clear()
        return True

    def _drain(self) -> None:
        """In a thread of its own: write the backlog whenever the socket takes some."""
        while True:
            with contextlib.suppress(OSError, ValueError):  # closed meanwhile: the next write sees it
                select.select([], [self._socket], [])
            with self._sending:
                if self._write():
                    self._is_draining = False
                    return


class EngineServer:
    """The engine's end of the wire. `deliver` is what its `Core` calls."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._core: Core | None = None
        self._models: list[ModelKey] = []
        self._peers: set[Peer] = set()
        self._closing = threading.Event()

    def start(self, core: Core) -> None:
        """Accept front ends."""
        self._core = core
        self._models = [model.key for model in core.status().models]
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    def beat(self) -> None:
        """Tell every front end how things stand."""
        assert self._core is not None
        status = pack_status(self._core.status())
        for peer in list(self._peers):
            peer.send(status)

    def close(self, grace_s: float) -> None:
        """Stop accepting, and let every request in the house end first, for at most `grace_s`."""
        self._closing.set()
        self._listener.close()
        end_s = time.monotonic() + grace_s
        while not all(peer.is_idle for peer in list(self._peers)) and time.monotonic() < end_s:
            time.sleep(DRAIN_POLL_S)
        for peer in list(self._peers):
            peer.close()

    def deliver(self, jobs: Sequence[Job]) -> None:
        """Send what ended to whoever asked for it."""
        answers: defaultdict[Peer, list[bytes]] = defaultdict(list)
        for job in jobs:
            if isinstance(job.caller, tuple):  # else a probe
                peer, id = job.caller
                if peer.jobs.pop(id, None) is not None:
                    answers[peer].append(_pack(id, job))
        for peer, frames in answers.items():
            peer.send(b"".join(frames))

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                if not select.select([self._listener], [], [], BEAT_S)[0]:
                    continue
                connection, _ = self._listener.accept()
            except (OSError, ValueError):  # closed
                return
            peer = Peer(connection)
            self._peers.add(peer)
            threading.Thread(target=self._serve, args=(peer,), name="reader", daemon=True).start()

    def _serve(self, peer: Peer) -> None:
        """Read one front end's frames until it is gone; what it waited for is dropped then."""
        assert self._core is not None
        peer.send(pack_status(self._core.status()))
        reader = FrameReader()
        try:
            while data := peer.receive():
                self._receive(peer, list(reader.feed(data)))
        except FrameError as error:
            log.error("a connection is closed: %s", error)
            peer.close()
        finally:
            self._peers.discard(peer)
            peer.dispose()
            for job in list(peer.jobs.values()):
                self._core.drop(job)

    def _receive(self, peer: Peer, frames: Sequence[tuple[Kind, bytes]]) -> None:
        assert self._core is not None
        arrived_s, jobs = time.monotonic(), dict[int, Job]()
        for kind, body in frames:
            if kind is Kind.WORK:
                id, work = unpack_work(body, self._models)
                jobs[id] = peer.jobs[id] = Job(work, arrived_s, (peer, id))
            elif kind is Kind.CANCEL:
                id = unpack_cancel(body)
                if (cancelled := peer.jobs.pop(id, None)) is not None and jobs.pop(id, None) is None:
                    self._core.drop(cancelled)
        if jobs:
            self._core.submit(list(jobs.values()))


def _pack(id: int, job: Job) -> bytes:
    if isinstance(job.outcome, Answer):
        return pack_answer(id, job.outcome)
    if isinstance(job.outcome, ApiError):
        return pack_failure(id, job.outcome)
    log.error("request failed in the engine", exc_info=job.outcome)
    return pack_failure(id, InternalError("the engine failed; the log has the detail"))
