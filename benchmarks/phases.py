"""How does one phase of a benchmark go: texts, a load, and what the service counted meanwhile?"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.ceiling import Ceiling
from benchmarks.generator import Job, LoadError, run
from benchmarks.judge import Format
from benchmarks.schema import LoadFigures, ServiceFigures
from benchmarks.server import Service, between
from benchmarks.texts import SEED, Counted

SAMPLE_EVERY = 16  # requests: of so many, one is compared with the right vector
OPEN_CONNECTIONS = 128

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """A service under load, and who knows the right answers."""

    service: Service
    model: str
    dimensions: int
    ceiling: Ceiling
    folder: Path  # for the right vectors
    format: Format = "base64"
    texts_a_request: int = 1
    sample_every: int = SAMPLE_EVERY

    def asking(self, form: Format, texts_a_request: int = 1) -> "Target":
        """The same service, asked in another way."""
        return replace(self, format=form, texts_a_request=texts_a_request)

    def closed(self, texts: Sequence[Counted], clients: int) -> tuple[LoadFigures, ServiceFigures]:
        """Each text once, `clients` requests at a time."""
        return self._phase(self.job(texts, mode="closed", clients=clients))

    def open(self, texts: Sequence[Counted], rate_per_s: float) -> tuple[LoadFigures, ServiceFigures]:
        """Each text once, when a Poisson schedule of this rate says."""
        return self._phase(self.job(texts, mode="poisson", clients=OPEN_CONNECTIONS, rate_per_s=round(rate_per_s, 2)))

    def job(self, texts: Sequence[Counted], **kind: object) -> Job:
        """The job of a load on this service; `kind` are more of its fields."""
        count = self.texts_a_request
        whole = [text.text for text in texts[: len(texts) // count * count]]
        starts = range(0, len(whole), count * self.sample_every)
        sampled = [text for start in starts for text in whole[start : start + count]]
        path = self.folder / "vectors.npy"
        np.save(path, self.ceiling.vectors(sampled).reshape(len(starts), count, -1))
        values = {
            "port": self.service.port,
            "model": self.model,
            "dimensions": self.dimensions,
            "texts": whole,
            "tokens": [text.tokens for text in texts[: len(whole)]],
            "texts_a_request": count,
            "format": self.format,
            "vectors": path,
            "sample_every": self.sample_every,
            "late_max_ms": None,  # one late phase is marked as such, and does not cost the rest of the run
            "seed": SEED,
        }
        return Job.model_validate(values | kind)

    def _phase(self, job: Job) -> tuple[LoadFigures, ServiceFigures]:
        before = self.service.snapshot()
        figures = run(job)
        if not figures.answered:
            raise LoadError(f"none of {figures.asked} requests was answered right: {figures.errors}")
        return figures, between(before, self.service.snapshot())


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the right vectors, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="encodery-bench-") as folder:
        yield Path(folder)


def line(figures: LoadFigures) -> str:
    """One load in one line, for the person who waits."""
    latency = figures.latency
    times = f"p50 {latency.p50_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms" if latency else "nothing answered"
    bad = f"; {figures.not_right} not answered right {figures.errors}" if figures.not_right else ""
    unsent = f"; {figures.unsent} unsent" if figures.unsent else ""
    late = f"; late {figures.late_p99_ms:.1f} ms at p99" if figures.late_p99_ms is not None else ""
    return f"{figures.texts_per_s:.0f} texts/s, {times}{bad}{unsent}{late}"
