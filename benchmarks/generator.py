"""How is a load run in a process of its own?

`run` (or `Running`, for a load that other things happen beside) starts `python -m benchmarks.generator`, which reads a
`Job` from standard input and writes `LoadFigures` to standard output. Requests are built before the clock starts, the
garbage collector is off while it runs, and the process reports its own CPU time and lateness, so that the generator
can be seen not to be what is measured. SIGTERM: it asks nothing more and reports once all is answered.
"""

import gc
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from benchmarks.judge import Dialect, Format, Judge, Question, ask
from benchmarks.ledger import Ledger, Outcome, latency, percentile
from benchmarks.load import Bounds, Load, fixed, poisson
from benchmarks.machine import ROOT
from benchmarks.processes import allow_connections
from benchmarks.schema import LoadFigures
from benchmarks.wire import HOST

LATE_MAX_MS = 10.0
REQUESTS_MAX, LIMIT_MAX_S = 1_000_000, 600.0
CONNECTIONS_MAX = 8192
BEGUN = b"asking\n"


class LoadError(Exception):
    """A load did not run, or its figures would not hold; one line for a person."""


class Job(BaseModel):
    """One load: each text once, `texts_a_request` of them in a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = HOST
    port: int
    source: str | None = None  # the address to ask from: who is asking, to the service; None: as the system chooses
    model: str
    dimensions: int
    texts: list[str]
    tokens: list[int] | None  # of each text: an answer that counts others is the answer to something else
    mode: Literal["closed", "fixed", "poisson"]
    clients: int  # open loop: connections to begin with
    rate_per_s: float | None = None  # requests; open loop only
    texts_a_request: int = 1
    dialect: Dialect = "native"
    format: Format = "json"
    # npy, float32 [S, texts_a_request, D]: the right vectors of every `sample_every`-th request; over and over if S are
    # fewer than the samples, for texts that repeat.
    vectors: Path | None = None
    sample_every: int = 1
    ledger: Path | None = None  # where to write what came of each request
    seed: int = 0
    limit_s: float = 120.0
    answer_s: float = 32.0  # the service's own deadline and two seconds
    late_max_ms: float | None = LATE_MAX_MS  # a generator that is later refuses its figures; None: it only says so

    @model_validator(mode="after")
    def _is_bounded(self) -> "Job":
        if not 0 < len(self.texts) <= REQUESTS_MAX or not 0 < self.limit_s <= LIMIT_MAX_S:
            raise ValueError(f"a load has 1 to {REQUESTS_MAX} texts and at most {LIMIT_MAX_S:.0f} s")
        if (self.mode == "closed") != (self.rate_per_s is None):
            raise ValueError("an open loop has a rate, a closed one has none")
        if self.tokens is not None and len(self.tokens) != len(self.texts):
            raise ValueError("a token count for each text, or none at all")
        return self


@dataclass(frozen=True, slots=True)
class Used:
    """Wall and CPU seconds of this process."""

    wall_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> "Used":
        """Up to now."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return cls(time.perf_counter(), usage.ru_utime + usage.ru_stime)

    def until_now(self) -> "Used":
        """What was used since."""
        end = Used.now()
        return Used(end.wall_s - self.wall_s, end.cpu_s - self.cpu_s)


class Running:
    """A load in another process, from the moment that it asks its first question."""

    def __init__(self, job: Job) -> None:
        """Start it and wait until it asks.

        Raises:
            LoadError: nobody listens, or it died.
        """
        self._job = job
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.generator"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(job.model_dump_json().encode())
        self._process.stdin.close()
        self._process.stdin = None
        if self._process.stdout.readline() != BEGUN:
            self.result()

    def stop(self) -> None:
        """Ask nothing more."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it whatever it does."""
        self._process.kill()
        self._process.wait()

    def result(self) -> LoadFigures:
        """Wait for its figures.

        Raises:
            LoadError: the generator was late, or it died.
        """
        try:
            printed, errors = self._process.communicate(timeout=self._job.limit_s + self._job.answer_s + 60)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise LoadError("the load generator did not end") from error
        if self._process.returncode != 0:
            lines = errors.decode().strip().splitlines()
            code = self._process.returncode
            raise LoadError(lines[-1] if lines else f"the load generator ended with exit code {code}")
        return LoadFigures.model_validate_json(printed)


def run(job: Job) -> LoadFigures:
    """Put the load of `job` on the service, from another process.

    Raises:
        LoadError: nobody listens, the generator was late, or it died.
    """
    return Running(job).result()


def questions(job: Job) -> list[Question]:
    """The requests of a job as bytes, with what is known of their right answers."""
    count = job.texts_a_request
    vectors = np.load(job.vectors) if job.vectors else None
    asked = []
    for number, start in enumerate(range(0, len(job.texts) - count + 1, count)):
        texts = job.texts[start : start + count]
        tokens = tuple(job.tokens[start : start + count]) if job.tokens is not None else None
        is_sampled = vectors is not None and number % job.sample_every == 0
        known = vectors[number // job.sample_every % len(vectors)] if vectors is not None and is_sampled else None
        asked.append(Question(ask(job.model, texts, job.dialect, job.format), count, tokens, known))
    return asked


def figures(job: Job, ledger: Ledger, used: Used) -> LoadFigures:
    """A finished load as it stands in a result file.

    Raises:
        LoadError: the generator itself asked too late for its latencies to mean anything.
    """
    late_ms = 1000 * percentile(sorted(ledger.late_s), 0.99) if ledger.late_s else None
    if late_ms is not None and job.late_max_ms is not None and late_ms > job.late_max_ms:
        raise LoadError(
            f"the load generator asked {late_ms:.1f} ms late at p99; the limit is {job.late_max_ms:.0f} ms; "
            "free the machine of other work, or lower the rate"
        )
    right = ledger.count(Outcome.RIGHT)
    return LoadFigures(
        mode=job.mode,
        clients=job.clients,
        offered_per_s=job.rate_per_s,
        texts_a_request=job.texts_a_request,
        format=job.format,
        asked=ledger.asked,
        answered=right,
        wrong=ledger.count(Outcome.WRONG),
        shed=ledger.count(Outcome.SHED),
        refused=ledger.count(Outcome.REFUSED),
        expired=ledger.count(Outcome.EXPIRED),
        failed=ledger.count(Outcome.FAILED),
        reset=ledger.count(Outcome.RESET),
        lost=ledger.count(Outcome.LOST),
        unsent=ledger.count(Outcome.UNSENT),
        duplicates=ledger.duplicates,
        shed_without_retry_after=ledger.shed_bare,
        errors=dict(ledger.reasons),
        seconds=round(used.wall_s, 3),
        requests_per_s=round(right / used.wall_s, 2),
        texts_per_s=round(right * job.texts_a_request / used.wall_s, 2),
        latency=latency(ledger.seconds(Outcome.RIGHT)),
        shed_latency=latency(ledger.seconds(Outcome.SHED)),
        generator_cpu_s=round(used.cpu_s, 3),
        late_p99_ms=None if late_ms is None else round(late_ms, 3),
    )


def main() -> None:
    """Run the job on standard input; exit code 1 with one line on standard error when it cannot be."""
    job = Job.model_validate_json(sys.stdin.buffer.read())
    allow_connections()
    bounds = Bounds(asking_s=job.limit_s, answer_s=job.answer_s)
    asked = questions(job)
    judge = Judge(job.dimensions, job.dialect, job.format)
    load = Load((job.host, job.port), asked, judge, bounds=bounds, source=job.source)
    signal.signal(signal.SIGTERM, lambda *_: load.stop())
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.stdout.buffer.write(BEGUN)
    sys.stdout.flush()
    started = Used.now()
    try:
        ledger = _run(load, job, len(asked))
        if job.ledger:
            ledger.save(job.ledger)
        print(figures(job, ledger, started.until_now()).model_dump_json())
    except (OSError, ValueError, LoadError) as error:
        sys.exit(str(error))


def _run(load: Load, job: Job, count: int) -> Ledger:
    if job.rate_per_s is None:
        return load.closed(job.clients)
    due_s: Sequence[float] = fixed(job.rate_per_s, count)
    if job.mode == "poisson":
        due_s = poisson(job.rate_per_s, count, job.seed)
    return load.open(due_s, job.clients, CONNECTIONS_MAX)


if __name__ == "__main__":
    main()
