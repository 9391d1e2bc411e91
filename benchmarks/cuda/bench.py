"""What do the experiments share? Graphs of known sizes, sessions over them, batches, and a way to time a run.

Everything that needs the device goes through `Bench`, so that the experiments themselves run in tests without one.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

import numpy as np
from onnx import ModelProto

from app.bundle.manifest import Pooling
from app.bundle.packed import PackedSpec, read_packed
from app.bundle.packing import Packed, pack
from app.engine.cuda_buckets import Limits, eager_shape, limits_for
from app.engine.cuda_session import PackedSession
from app.engine.session import Device
from app.types import Ids
from benchmarks.cuda.result import Row
from training.export.packed.graph import PackedPrecision, build_graph
from training.export.packed.weights import draw

SECONDS = 110.0  # of one experiment; the process that runs it is given 120
TIMED_SECONDS = 0.4  # of one measurement, and at least LEAST_RUNS
LEAST_RUNS = 5
SEED = 5


@dataclass(frozen=True, slots=True)
class Size:
    """A well-known encoder's size; its weights are drawn."""

    layers: int
    hidden: int
    heads: int

    def flops(self, lengths: Sequence[int]) -> float:
        """Of one batch without padding: products with weights, and attention."""
        weights = self.layers * 12 * self.hidden**2
        attention = self.layers * 2 * self.hidden * sum(length**2 for length in lengths)
        return 2.0 * (weights * sum(lengths) + attention)


SIZES: Mapping[str, Size] = {
    "minilm": Size(layers=6, hidden=384, heads=12),
    "base": Size(layers=12, hidden=768, heads=12),
    "large": Size(layers=24, hidden=1024, heads=16),
}


class OpenSession(Protocol):
    """Makes a session over a packed graph on the device."""

    def __call__(
        self, model: ModelProto, spec: PackedSpec, limits: Limits, *, kernels: int, graphs: bool
    ) -> PackedSession:
        """A session; `kernels` as in `OrtPackedSession`."""
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """The device, and how large and how long things are.

    Args:
        kernels_of: the attention kernels that ran in a function that makes and runs a session.
        memory_mib: memory of the device in use.
    """

    device: Device
    open: OpenSession
    kernels_of: Callable[[Callable[[], None]], str]
    memory_mib: Callable[[], int]
    peak_tflops: float | None
    models: Path
    sizes: Mapping[str, Size]
    tokens: Sequence[int] = (1024, 2048, 4096, 8192, 16384)
    lengths: Sequence[int] = (16, 64, 128, 512)
    timed_seconds: float = TIMED_SECONDS
    model: str = "minilm"  # the bundle of the comparisons
    texts: int = 8192

    @property
    def longest(self) -> int:
        """The longest text of the drawn encoders."""
        return max(self.lengths)

    def graph(
        self,
        size: Size,
        precision: PackedPrecision = "fp16",
        *,
        layers: int | None = None,
        pooling: Pooling = "mean",
        fused_embedding: bool = False,
    ) -> tuple[ModelProto, PackedSpec]:
        """A packed graph of a size with drawn weights."""
        weights = draw(
            layers=layers or size.layers,
            hidden=size.hidden,
            heads=size.heads,
            max_tokens=self.longest,
            pooling=pooling,
        )
        data: bytes = build_graph(weights, precision, fused_embedding=fused_embedding).SerializeToString()
        return read_packed(data, "the drawn graph")

    def milliseconds(self, run: Callable[..., object], *arguments: object) -> float:
        """The median of one call, after two that do not count."""
        for _ in range(2):
            run(*arguments)
        times: list[float] = []
        while len(times) < LEAST_RUNS or sum(times) < self.timed_seconds:
            started = time.perf_counter()
            run(*arguments)
            times.append(time.perf_counter() - started)
        return round(median(times) * 1e3, 4)


def batch_of(lengths: Sequence[int], spec: PackedSpec) -> Packed:
    """Random ids of these lengths, packed as an eager run."""
    return pack(rows_of(lengths, spec), eager_shape(lengths), spec)


def rows_of(lengths: Sequence[int], spec: PackedSpec) -> list[Ids]:
    """Random ids of these lengths."""
    generator = np.random.default_rng(SEED)
    return [generator.integers(1, spec.vocabulary, length).astype(np.int32) for length in lengths]


def mixed_lengths(count: int, longest: int, *, mean: int = 36) -> list[int]:
    """Lengths as of short texts with some long ones: log-normal, from 3 to `longest`."""
    generator = np.random.default_rng(SEED)
    drawn = generator.lognormal(np.log(mean) - 0.32, 0.8, count)
    return [int(length) for length in np.clip(drawn, 3, longest)]


def limits(spec: PackedSpec, tokens: int) -> Limits:
    """Room for runs of `tokens`, without graphs."""
    return limits_for(spec, tokens=tokens, graph_tokens=0)


def within(seconds: float, rows: Iterable[Row]) -> Iterator[Row]:
    """Rows until the time is over; a row that has begun is finished."""
    ends = time.perf_counter() + seconds
    for row in rows:
        yield row
        if time.perf_counter() > ends:
            return
