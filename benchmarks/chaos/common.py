"""What do the checks of faults share: a service, a pool of texts whose vectors are known, and loads made of it."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from app.engine.cpu_plans import Setting
from benchmarks.ceiling import Ceiling, Opened, open_plan
from benchmarks.generator import Job, run
from benchmarks.models import alone
from benchmarks.schema import LoadFigures
from benchmarks.server import APP, Service, pinned, running
from benchmarks.texts import Counted, draw

POOL = 2000  # texts; more than are ever in the house at once, so that none meets itself
PEAK_CLIENTS = (32, 128)
CONNECTIONS = 256


@dataclass(frozen=True, slots=True)
class Options:
    """What one check is asked for."""

    models_dir: Path
    model: str
    plan: Setting = "fp32"


@dataclass(frozen=True, slots=True)
class Pool:
    """Texts, their tokens and their right vectors, saved for the load generator."""

    model: str
    dimensions: int
    texts: Sequence[Counted]
    folder: Path

    @property
    def vectors(self) -> Path:
        """float32 [texts, 1, D]."""
        return self.folder / "pool.npy"

    @property
    def ledger(self) -> Path:
        """Where a load writes what came of each request."""
        return self.folder / "ledger.npz"

    def job(self, service: Service, requests: int, **kind: object) -> Job:
        """So many requests, the pool over and over; every answer is compared with its vector."""
        chosen = list(islice(cycle(self.texts), requests))
        values = {
            "port": service.port,
            "model": self.model,
            "dimensions": self.dimensions,
            "texts": [text.text for text in chosen],
            "tokens": [text.tokens for text in chosen],
            "format": "base64",
            "vectors": self.vectors,
            "late_max_ms": None,
        }
        return Job.model_validate(values | kind)

    def peak(self, service: Service, seconds: float) -> float:
        """Requests a second of the best closed loop, each of about so many seconds, after a warm-up."""
        rate = run(self.job(service, 200, mode="closed", clients=PEAK_CLIENTS[0])).requests_per_s
        loads = [
            run(self.job(service, max(200, int(rate * seconds)), mode="closed", clients=clients))
            for clients in PEAK_CLIENTS
        ]
        return max(load.requests_per_s for load in loads)

    def open(self, service: Service, rate: float, seconds: float, **more: object) -> Job:
        """A Poisson schedule of about so many seconds."""
        kind = {"mode": "poisson", "rate_per_s": round(rate, 2), "clients": CONNECTIONS, "limit_s": seconds + 60}
        return self.job(service, max(1, int(rate * seconds)), **(kind | more))


@contextmanager
def pool_of(opened: Opened, ceiling: Ceiling, texts: Sequence[Counted] | None = None) -> Iterator[Pool]:
    """A pool of mixed texts of one model, or of those given."""
    chosen = texts if texts is not None else draw(ceiling.tokens, opened.manifest.max_tokens, POOL)
    with tempfile.TemporaryDirectory(prefix="encodery-chaos-") as folder:
        pool = Pool(str(opened.manifest.name), opened.head.dimensions, chosen, Path(folder))
        np.save(pool.vectors, ceiling.vectors([text.text for text in chosen])[:, None, :])
        yield pool


@contextmanager
def serving(
    options: Options, environ: Mapping[str, str] | None = None, program: Sequence[str] = APP
) -> Iterator[Service]:
    """The service with the model of the options alone, pinned to their plan."""
    models = alone(options.models_dir, options.model)
    with running(models, pinned(options.plan) | dict(environ or {}), program) as service:
        yield service


def opened(options: Options) -> tuple[Opened, Ceiling]:
    """The model of the options, for its right vectors."""
    model = open_plan(options.models_dir, options.model, options.plan)
    return model, Ceiling(model)


def unanswered(load: LoadFigures) -> int:
    """Requests that were let in and did not get the right answer: refusals under load are not among them."""
    return load.not_right - load.shed
