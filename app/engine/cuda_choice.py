"""Which of several ways to run a model serves?

Candidates are opened one after the other, checked against the bundle's golden outputs, and timed; the fastest that
agrees serves, the others are closed. One that cannot be opened or disagrees is left out with a line in the log. One
that takes the device with it ends the process; which it was is written down before (attempts.py), and after two deaths
it is not tried again.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from app.engine.attempts import Attempts
from app.engine.cuda_errors import DeviceLostError, device_errors, first_line
from app.types import Clock, Item, Rows

log = logging.getLogger(__name__)

REPEATS = 5
LEAST_MS = 1e-6  # of a run: a clock that stands still must not end in the logarithm of 0


class DeviceRunner(Protocol):
    """A runner that holds a device until it is closed."""

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        """See `app.types.Runner`."""
        ...

    def close(self) -> None:
        """Give the device back."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run the model. `open` raises where there is no such way on this device."""

    name: str
    precision: str
    open: Callable[[], DeviceRunner]


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidate that serves.

    `figures`: milliseconds a run of each kind of batch, of every candidate that agreed, by its name. `refused`: why the
    others did not.
    """

    candidate: Candidate
    runner: DeviceRunner
    figures: Mapping[str, Mapping[str, float]]
    refused: Mapping[str, str]


class NoPlanError(Exception):
    """There is no way to run the model on this device that agrees with its golden outputs."""


class Choosing:
    """One choice under way.

    Args:
        check: raises where a runner does not give the golden outputs as its candidate's precision must.
        batches: kinds of batches to time, by name; the geometric mean over them decides.
    """

    def __init__(
        self,
        check: Callable[[DeviceRunner, Candidate], None],
        batches: Mapping[str, Sequence[Item]],
        attempts: Attempts,
        clock: Clock,
    ) -> None:
        self._check, self._batches, self._attempts, self._clock = check, batches, attempts, clock
        self._figures: dict[str, dict[str, float]] = {}
        self._refused = dict.fromkeys(attempts.deadly(), "engines died of it")
        self._best: tuple[float, Candidate, DeviceRunner] | None = None

    def choose(self, candidates: Sequence[Candidate]) -> Choice:
        """The fastest candidate that agrees.

        Raises:
            NoPlanError: none agreed. DeviceLostError: this process has to end.
        """
        try:
            for candidate in candidates:
                self._consider(candidate)
        except BaseException:
            if self._best is not None:
                self._best[2].close()
            raise
        if self._best is None:
            raise NoPlanError(f"no plan runs this model on the GPU: {self._refused}")
        _, candidate, runner = self._best
        return Choice(candidate, runner, self._figures, self._refused)

    def _consider(self, candidate: Candidate) -> None:
        if candidate.name in self._refused:
            log.warning("plan %s is not tried again: %s", candidate.name, self._refused[candidate.name])
            return
        try:
            with self._attempts.of(candidate.name), device_errors():
                runner, times = self._tried(candidate)
        except DeviceLostError:
            raise
        except Exception as error:  # the runtime raises its own types, one for each way to fail
            self._refused[candidate.name] = first_line(error)
            log.warning("plan %s is left out: %s", candidate.name, first_line(error))
            return
        self._figures[candidate.name] = times
        score = math.fsum(map(math.log, times.values()))
        if self._best is not None and self._best[0] <= score:
            runner.close()
            return
        if self._best is not None:
            self._best[2].close()
        self._best = (score, candidate, runner)

    def _tried(self, candidate: Candidate) -> tuple[DeviceRunner, dict[str, float]]:
        """An open runner that agrees, and its milliseconds by kind of batch."""
        runner = candidate.open()
        try:
            self._check(runner, candidate)
            return runner, {name: self._milliseconds(runner, batch) for name, batch in self._batches.items()}
        except BaseException:
            runner.close()
            raise

    def _milliseconds(self, runner: DeviceRunner, batch: Sequence[Item]) -> float:
        """The median of a few runs, after one that does not count."""
        runner.run(batch)
        times = []
        for _ in range(REPEATS):
            started = self._clock()
            runner.run(batch)
            times.append((self._clock() - started) * 1e3)
        return max(median(times), LEAST_MS)
