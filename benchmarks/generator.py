"""How is a load run in a process of its own?

`run` starts `python -m benchmarks.generator`, which reads a `Job` from standard input and writes `LoadFigures` to
standard output. Requests are built before the clock starts, the garbage collector is off while it runs, and the
process reports its own CPU time and lateness, so that the generator can be seen not to be what is measured.
"""

import asyncio
import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, model_validator

from benchmarks.connection import post
from benchmarks.load import RealTimer, closed_loop, fixed, open_loop, poisson
from benchmarks.machine import ROOT
from benchmarks.schema import LoadFigures
from benchmarks.tally import Question, Tally, latency, percentile

LATE_MAX_MS = 10.0
REQUESTS_MAX, LIMIT_MAX_S = 1_000_000, 600.0


class LoadError(Exception):
    """A load did not run, or its figures would not hold; one line for a person."""


class Job(BaseModel):
    """One load: each text once, as a request of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: int
    model: str
    dimensions: int
    texts: list[str]
    tokens: list[int]  # of each text: an answer that counts others is the answer to something else
    mode: Literal["closed", "fixed", "poisson"]
    clients: int  # open loop: connections
    rate_per_s: float | None = None  # open loop only
    seed: int = 0
    limit_s: float = 120.0

    @model_validator(mode="after")
    def _is_bounded(self) -> "Job":
        if not 0 < len(self.texts) <= REQUESTS_MAX or not 0 < self.limit_s <= LIMIT_MAX_S:
            raise ValueError(f"a load has 1 to {REQUESTS_MAX} texts and at most {LIMIT_MAX_S:.0f} s")
        if (self.mode == "closed") != (self.rate_per_s is None):
            raise ValueError("an open loop has a rate, a closed one has none")
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


def run(job: Job) -> LoadFigures:
    """Put the load of `job` on the service, from another process.

    Raises:
        LoadError: nobody listens, the generator was late, or it died.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.generator"],
        cwd=ROOT,
        input=job.model_dump_json().encode(),
        capture_output=True,
        timeout=job.limit_s + 60,
    )
    if done.returncode != 0:
        printed = done.stderr.decode().strip().splitlines()
        raise LoadError(printed[-1] if printed else f"the load generator ended with exit code {done.returncode}")
    return LoadFigures.model_validate_json(done.stdout)


def questions(job: Job) -> list[Question]:
    """The requests of a job as bytes."""
    bodies = [orjson.dumps({"model": job.model, "text": text}) for text in job.texts]
    return [
        Question(post("/embed", body), job.dimensions, tokens) for body, tokens in zip(bodies, job.tokens, strict=True)
    ]


def figures(job: Job, tally: Tally, used: Used) -> LoadFigures:
    """The tally of a finished load as it stands in a result file.

    Raises:
        LoadError: the generator itself asked too late for its latencies to mean anything.
    """
    late_ms = 1000 * percentile(sorted(tally.late_s), 0.99) if tally.late_s else None
    if late_ms is not None and late_ms > LATE_MAX_MS:
        raise LoadError(
            f"the load generator asked {late_ms:.1f} ms late at p99; the limit is {LATE_MAX_MS:.0f} ms; "
            "free the machine of other work, or lower the rate"
        )
    return LoadFigures(
        mode=job.mode,
        clients=job.clients,
        offered_per_s=job.rate_per_s,
        asked=tally.asked,
        answered=tally.verdicts["answered"],
        wrong=tally.verdicts["wrong"],
        shed=tally.verdicts["shed"],
        failed=tally.verdicts["failed"],
        unsent=len(job.texts) - tally.asked,
        errors=dict(tally.errors),
        seconds=round(used.wall_s, 3),
        requests_per_s=round(tally.verdicts["answered"] / used.wall_s, 2),
        latency=latency(tally.latencies_s),
        generator_cpu_s=round(used.cpu_s, 3),
        late_p99_ms=None if late_ms is None else round(late_ms, 3),
    )


def main() -> None:
    """Run the job on standard input; exit code 1 with one line on standard error when it cannot be."""
    job = Job.model_validate_json(sys.stdin.buffer.read())
    asked = questions(job)
    gc.collect()
    gc.freeze()
    gc.disable()
    started = Used.now()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            tally = runner.run(_load(job, asked))
        print(figures(job, tally, started.until_now()).model_dump_json())
    except* (OSError, ValueError, LoadError) as errors:
        # A connection refused in one client cancels the others: several may stand in the group.
        sys.exit("; ".join(map(str, errors.exceptions)))


def _load(job: Job, asked: list[Question]) -> Coroutine[None, None, Tally]:
    address, timer = (job.host, job.port), RealTimer()
    if job.rate_per_s is None:
        return closed_loop(address, asked, clients=job.clients, limit_s=job.limit_s, timer=timer)
    count = len(asked)
    due_s = fixed(job.rate_per_s, count) if job.mode == "fixed" else poisson(job.rate_per_s, count, job.seed)
    return open_loop(address, asked, due_s, connections=job.clients, limit_s=job.limit_s, timer=timer)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop where it exists: half the CPU a request."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop  # type: ignore[no-any-return]  # uvloop is untyped


if __name__ == "__main__":
    main()
