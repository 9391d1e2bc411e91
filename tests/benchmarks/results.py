"""Results with the figures that a test wants and plain ones otherwise."""

from benchmarks.machine import origin
from benchmarks.schema import (
    Bench,
    CeilingFigures,
    Closed,
    Control,
    Corpus,
    Direct,
    Latency,
    LoadFigures,
    Open,
    Origin,
    Plan,
    ServiceFigures,
)

ORIGIN: Origin = origin(["a", "test"])
CAUGHT = Control(planted="a fault", found="it", caught=True)
CORPUS = Corpus(texts=9, sha256="0", tokens_mean=34.0, tokens_p50=25, tokens_p90=68, tokens_p99=180, tokens_max=250)


def latency(p50_ms: float, p99_ms: float) -> Latency:
    return Latency(p50_ms=p50_ms, p90_ms=p99_ms, p99_ms=p99_ms, p999_ms=p99_ms, max_ms=p99_ms)


def load(**changes: object) -> LoadFigures:
    """A hundred requests, all answered right, in one second."""
    values: dict[str, object] = {
        "mode": "closed",
        "clients": 32,
        "offered_per_s": None,
        "format": "base64",
        "asked": 100,
        "answered": 100,
        "seconds": 1.0,
        "requests_per_s": 100.0,
        "texts_per_s": 100.0,
        "latency": latency(10.0, 20.0),
        "shed_latency": None,
        "generator_cpu_s": 0.01,
        "late_p99_ms": None,
        "errors": {},
    }
    counts = ("wrong", "shed", "refused", "expired", "failed", "reset", "lost", "unsent", "duplicates")
    zeros = dict.fromkeys([*counts, "shed_without_retry_after"], 0)
    return LoadFigures.model_validate(zeros | values | changes)


def service(**changes: object) -> ServiceFigures:
    """A second of CPU, a twentieth of it the front end's."""
    values: dict[str, object] = {
        "tokens": 960,
        "padded_tokens": 1000,
        "waste": 0.04,
        "runs": 25,
        "rows_mean": 4.0,
        "queue_ms_mean": 1.0,
        "cpu_s": {"engine": 0.95, "frontend": 0.05},
    }
    return ServiceFigures.model_validate(values | changes)


def ceiling(texts_per_s: float) -> CeilingFigures:
    plan = Plan(batch=8, lanes=2, threads=1)
    return CeilingFigures(plan=plan, texts_per_s=texts_per_s, cpu_ms_per_text=9.0, waste=0.01)


def closed(before: float, after: float, *, direct_ms: float | None = None, **changes: object) -> Closed:
    direct = None if direct_ms is None else Direct(runner="lane", latency=latency(direct_ms, 2 * direct_ms))
    figures = load(**changes)
    return Closed(before=ceiling(before), after=ceiling(after), direct=direct, load=figures, service=service())


def opened(share: float, p99_ms: float, *, direct_ms: float | None = None, late_ms: float = 1.0) -> Open:
    direct = None if direct_ms is None else Direct(runner="lane", latency=latency(direct_ms, direct_ms))
    figures = load(mode="poisson", offered_per_s=100 * share, latency=latency(p99_ms / 2, p99_ms), late_p99_ms=late_ms)
    return Open(load_share=share, direct=direct, paused=direct, load=figures, service=service())


def bench(plan: str = "fp32", **changes: object) -> Bench:
    """32 clients reach 100 of 110 texts/s; everything else is within its target."""
    values: dict[str, object] = {
        "plan": plan,
        "plan_name": f"onnxruntime-{plan}",
        "origin": ORIGIN,
        "model": "m",
        "device": "cpu",
        "corpus": CORPUS,
        "sweep": [ceiling(110.0)],
        "closed": [closed(110, 110, direct_ms=9.5, clients=1), closed(110, 110)],
        "capacity_per_s": 100.0,
        "open_loop": [opened(0.1, 12.0, direct_ms=10.0), opened(0.7, 30.0)],
        "knee_per_s": 70.0,
    }
    return Bench.model_validate(values | changes)
