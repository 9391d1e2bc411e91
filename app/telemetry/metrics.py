"""What does the service count?

Every metric name stands here and nowhere else. With PROMETHEUS_MULTIPROC_DIR set before this module is imported, each
process writes its values to memory-mapped files in that folder, and `render` sums them: counts outlive any process,
`kill -9` included. Without it (one process) the default registry serves.

Labels come from fixed sets: the route's template, a model of the catalog or "unknown", a status code, a reason. A
made-up path or model name adds no series. Gauges use the `live` modes: they go with the process that set them, once
`forget` is told that it died.
"""

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import prometheus_client.values
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client import generate_latest as generate
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from app.telemetry.backed import BackedDict

MetricT = TypeVar("MetricT", Counter, Gauge, Histogram)

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
UNKNOWN = "unknown"  # label of a model that is not in the catalog, and of a path that has no route

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SHORT_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, that nobody reads

prometheus_client.values.MmapedDict = BackedDict  # type: ignore[attr-defined]  # it has no hook for this

# Front ends.
requests_total = Counter("encodery_requests_total", "Requests answered.", ["route", "model", "code"])
request_seconds = Histogram("encodery_request_seconds", "Whole request in to answer sent.", ["route"], buckets=_SECONDS)
texts_total = Counter("encodery_texts_total", "Texts accepted.", ["model"])
truncated_total = Counter("encodery_truncated_total", "Texts cut to fit the model.", ["model"])
tokenize_seconds = Histogram(
    "encodery_tokenize_seconds", "Tokenising the texts of one request.", buckets=_SHORT_SECONDS
)
queue_seconds = Histogram(
    "encodery_queue_seconds", "A request's wait in the engine before its first run.", ["model"], buckets=_SECONDS
)
shed_total = Counter("encodery_shed_total", "Requests refused under load, before any work.", ["reason"])
cancelled_total = Counter("encodery_cancelled_total", "Requests dropped because their caller went away.")
expired_total = Counter("encodery_expired_total", "Requests dropped because their deadline passed.")

# Engine.
run_seconds = Histogram("encodery_run_seconds", "One run of a batch.", ["model"], buckets=_SHORT_SECONDS)
batch_rows = Histogram("encodery_batch_rows", "Rows of a batch.", ["model"], buckets=_ROWS)
batch_tokens = Histogram("encodery_batch_tokens", "Padded tokens of a batch.", ["model"], buckets=_TOKENS)
tokens_total = Counter("encodery_tokens_total", "Tokens of texts that were run.", ["model"])
padded_tokens_total = Counter(
    "encodery_padded_tokens_total", "Tokens that were run, padding included; waste = 1 - tokens / padded.", ["model"]
)
joined_total = Counter(
    "encodery_joined_total", "Texts that an equal one, waiting or running at the same time, was run for as well."
)
cached_total = Counter("encodery_cached_total", "Texts that were answered from the outputs that the engine keeps.")
model_info = Gauge(
    "encodery_model_info",
    "1 for each loaded model.",
    ["model", "version", "device", "precision"],
    multiprocess_mode="livemax",
)

# Supervisor.
engine_up = Gauge("encodery_engine_up", "Engines that are connected and warm.", multiprocess_mode="livesum")
engine_restarts_total = Counter("encodery_engine_restarts_total", "Engines started again after they died.")

SHED_REASONS = ("predicted_wait",)


@functools.cache  # looking labels up costs more than counting
def _batch_series(model: str) -> tuple[Histogram, Histogram, Histogram, Counter, Counter]:
    return (
        run_seconds.labels(model),
        batch_rows.labels(model),
        batch_tokens.labels(model),
        tokens_total.labels(model),
        padded_tokens_total.labels(model),
    )


def count_batch(model: str, *, rows: int, tokens: int, longest: int, seconds: float) -> None:
    """Count one batch that ran: its rows, their tokens, and the length that all were padded to."""
    run, size, padded, read, paid = _batch_series(model)
    run.observe(seconds)
    size.observe(rows)
    padded.observe(rows * longest)
    read.inc(tokens)
    paid.inc(rows * longest)


def initialise(models: Iterable[str], routes: Iterable[str]) -> None:
    """Make the series of every known model and route, at 0, so that a rate exists before the first event."""
    known = list(models)
    for model in known:
        for counter in (texts_total, truncated_total, tokens_total, padded_tokens_total):
            counter.labels(model)
        for histogram in (queue_seconds, run_seconds, batch_rows, batch_tokens):
            histogram.labels(model)
    for route in routes:
        request_seconds.labels(route)
        for model in known:
            requests_total.labels(route, model, "200")
    for reason in SHED_REASONS:
        shed_total.labels(reason)


@functools.lru_cache(maxsize=4096)
def child(metric: MetricT, *labels: str) -> MetricT:
    """`metric.labels(*labels)`, remembered: looking it up costs as much as counting does. Labels are of fixed sets."""
    return metric.labels(*labels)


def render() -> tuple[bytes, str]:
    """The exposition text of all processes, and its content type.

    Raises:
        OSError: the files of the processes cannot be read.
    """
    if MULTIPROCESS_VARIABLE not in os.environ:
        return generate(REGISTRY), CONTENT_TYPE_LATEST
    registry = CollectorRegistry()
    registry.register(_AllProcesses())
    return generate(registry), CONTENT_TYPE_LATEST


class _AllProcesses(Collector):
    """prometheus_client's own collector takes a folder that cannot be listed for an empty one."""

    def collect(self) -> Iterable[Metric]:
        folder = Path(os.environ[MULTIPROCESS_VARIABLE])
        files = [str(file) for file in folder.iterdir() if file.suffix == ".db" and _has_begun(file)]
        metrics: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return metrics


def _has_begun(file: Path) -> bool:
    """Whether there is something in the file: it may be in the making, or have gone with its process."""
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False


def forget(pid: int) -> None:
    """Drop the gauges of a process that died; its counters stay."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
