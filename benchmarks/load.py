"""How is load put on a service so that the figures mean something?

Closed loop: each of N clients asks, waits for the answer, asks again; it finds the highest rate, and says little about
latency, because a slow service is asked less. Open loop: requests are due at set times, whatever the service does, and
latency counts from the time a request was due, so that a stall is felt by every request that it held up
(G. Tene, "How NOT to Measure Latency": coordinated omission).

One thread, one epoll, no event loop: some 30 µs of CPU a request. Both kinds are bounded in count and time.
"""

import contextlib
import select
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from app.types import Clock
from benchmarks.judge import Judge, Question
from benchmarks.ledger import Ledger, Outcome
from benchmarks.wire import BrokenAnswerError, Connection, UnaskedAnswerError

Address = tuple[str, int]
READ, WRITE = select.EPOLLIN | select.EPOLLRDHUP, select.EPOLLOUT
TICK_S = 0.05  # how late a stop may be noticed


def fixed(rate_per_s: float, count: int) -> list[float]:
    """When `count` requests are due, evenly spaced."""
    return [index / rate_per_s for index in range(count)]


def poisson(rate_per_s: float, count: int, seed: int) -> list[float]:
    """When `count` requests are due that come independently of one another."""
    rng = Random(seed)
    return list(accumulate(rng.expovariate(rate_per_s) for _ in range(count)))


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a load ends, whatever the service does."""

    asking_s: float  # nothing is asked after it
    answer_s: float  # what has no answer so long after it was sent is LOST


class Load:
    """One load, filled into `ledger`; `stop` may be called from a signal handler."""

    def __init__(
        self,
        address: Address,
        questions: Sequence[Question],
        judge: Judge,
        *,
        bounds: Bounds,
        source: str | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.ledger = Ledger(len(questions))
        self._address, self._questions, self._judge = address, questions, judge
        self._bounds, self._source, self._clock = bounds, source, clock
        self._epoll = select.epoll()  # before any connection: `select` takes descriptors under 1,024 only
        self._connections: dict[int, Connection] = {}
        self._idle: deque[Connection] = deque()
        self._busy = 0
        self._stopped = False
        self._look_s = clock()  # when the sent requests were last looked through for LOST ones

    def stop(self) -> None:
        """Ask nothing more; what was asked is waited for."""
        self._stopped = True

    def closed(self, clients: int) -> Ledger:
        """Ask every question once, `clients` at a time.

        Raises:
            OSError: nobody listens.
        """
        end_s = self._clock() + self._bounds.asking_s
        self._open(clients)
        following = iter(range(len(self._questions)))
        while True:
            self._refill(clients)
            while self._idle and not self._stopped and self._clock() < end_s:
                if (index := next(following, None)) is None:
                    break
                self._ask(index, self._idle.popleft(), self._clock())
            if not self._busy:
                return self._end()
            self._turn(TICK_S)

    def open(self, due_s: Sequence[float], connections: int, most: int) -> Ledger:
        """Ask question i when `due_s[i]` has come. `connections` are open at the start, never more than `most`.

        Raises:
            OSError: nobody listens.
        """
        self._open(connections)
        started_s = self._clock()
        end_s = started_s + self._bounds.asking_s
        upcoming = deque(enumerate(started_s + offset for offset in due_s))
        while True:
            now_s = self._clock()
            while upcoming and upcoming[0][1] <= now_s and self._has_room(most):
                index, at_s = upcoming.popleft()
                self.ledger.late_s.append(self._clock() - at_s)
                self._ask(index, self._take(), at_s)
            if self._stopped or now_s > end_s:
                upcoming.clear()
            if not upcoming and not self._busy:
                return self._end()
            wait_s = upcoming[0][1] - self._clock() if upcoming and self._has_room(most) else TICK_S
            self._turn(min(max(wait_s, 0.0), TICK_S))

    def _open(self, count: int) -> None:
        for _ in range(count):
            self._idle.append(self._connect())

    def _refill(self, count: int) -> None:
        """As many connections as at the start, if the service takes them."""
        with contextlib.suppress(OSError):
            while len(self._connections) < count:
                self._idle.append(self._connect())

    def _connect(self) -> Connection:
        connection = Connection(*self._address, self._source)
        self._connections[connection.fd] = connection
        self._epoll.register(connection.fd, READ)
        return connection

    def _has_room(self, most: int) -> bool:
        return bool(self._idle) or len(self._connections) < most

    def _take(self) -> Connection | None:
        """A free connection, a new one if none is; None when the service takes no more."""
        if self._idle:
            return self._idle.popleft()
        try:
            return self._connect()
        except OSError:
            return None

    def _ask(self, index: int, connection: Connection | None, due_s: float) -> None:
        self.ledger.due_s[index] = due_s
        if connection is None:
            self.ledger.settle(index, Outcome.RESET, self._clock(), "connection refused")
            return
        connection.asked = index
        self._busy += 1
        self._write(connection, self._questions[index].request)

    def _write(self, connection: Connection, data: bytes) -> None:
        assert connection.asked is not None
        try:
            if connection.send(data):
                self.ledger.sent_s[connection.asked] = self._clock()
                if len(data) < len(self._questions[connection.asked].request):
                    self._epoll.modify(connection.fd, READ)
            else:
                self._epoll.modify(connection.fd, READ | WRITE)
        except OSError as error:
            self._drop(connection, Outcome.RESET, type(error).__name__)

    def _turn(self, wait_s: float) -> None:
        """Wait for the sockets, at most so long, and do what they are ready for."""
        # Python rounds epoll's own time limit up to a millisecond; `select` on its one descriptor does not.
        select.select([self._epoll.fileno()], [], [], wait_s)
        for fd, events in self._epoll.poll(0):
            connection = self._connections.get(fd)
            if connection is None:
                continue
            if events & WRITE and connection.unsent:
                self._write(connection, connection.unsent)
            if events & ~WRITE and fd in self._connections:
                self._read(connection)
        self._give_up()

    def _read(self, connection: Connection) -> None:
        try:
            reply = connection.receive()
        except BrokenAnswerError as error:
            self.ledger.duplicates += isinstance(error, UnaskedAnswerError)
            self._drop(connection, Outcome.WRONG, str(error))
            return
        except OSError as error:
            self._drop(connection, Outcome.RESET, str(error) or type(error).__name__)
            return
        if reply is None:
            return
        index, now_s = connection.asked, self._clock()
        assert index is not None  # `receive` gives no reply that nobody asked for
        connection.asked = None
        self._busy -= 1
        outcome, reason = self._judge.judge(self._questions[index], reply)
        if outcome is Outcome.SHED and reply.retry_after_s is None:
            self.ledger.shed_bare += 1
        self.ledger.settle(index, outcome, now_s, reason)
        self._idle.append(connection)

    def _drop(self, connection: Connection, outcome: Outcome, reason: str) -> None:
        """Close a connection; what it carried has this outcome."""
        self._connections.pop(connection.fd, None)
        self._epoll.unregister(connection.fd)
        connection.close()
        if connection.asked is None:
            self._idle.remove(connection)
        else:
            self._busy -= 1
            self.ledger.settle(connection.asked, outcome, self._clock(), reason)
            connection.asked = None

    def _give_up(self) -> None:
        """Once a second, call LOST what has had no answer for longer than the bounds allow."""
        if self._clock() - self._look_s < 1.0:
            return
        self._look_s = self._clock()
        for connection in list(self._connections.values()):
            index = connection.asked
            if index is not None and self._look_s - self.ledger.due_s[index] > self._bounds.answer_s:
                self._drop(connection, Outcome.LOST, "no answer")

    def _end(self) -> Ledger:
        for connection in self._connections.values():
            connection.close()
        self._epoll.close()
        return self.ledger
