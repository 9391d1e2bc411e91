"""How does a bundle become something that may serve?

Verified, opened on the device, its golden inputs replayed there, warmed, and timed – in this order; a bundle that
fails at any step is refused with the rule that it broke.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.batching.cost import Sample, fit
from app.bundle.errors import BundleError
from app.bundle.golden import check_golden, load_golden
from app.bundle.graph import check_graph
from app.bundle.manifest import Manifest
from app.bundle.open import Bundle, open_bundle
from app.bundle.tokenizer import cutting, load_tokenizer
from app.engine.runner import OrtRunner
from app.engine.session import Device, DeviceError
from app.types import Clock, Cost, Ids, ModelKey, ModelStatus, Rows, Runner

GOLDEN_BATCH = 8
SHAPES = ((1, 8), (1, 32), (4, 32), (8, 32), (2, 128))  # rows, tokens: where the traffic is, under a second in all
REPEATS = 3


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that agreed with its golden outputs on this device."""

    lane: Runner  # a run on one thread; several go side by side
    wide: Runner  # a run on all cores, for a request that finds the engine empty
    status: ModelStatus
    probe: Ids  # one real row, for the engine to run when it is idle


def load_model(folder: Path, device: Device, *, lanes: int) -> LoadedModel:
    """Open, check, replay and time the bundle in `folder`.

    Raises:
        BundleError: any broken rule. DeviceError: the session does not run on `device`.
    """
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    file = manifest.model_file("fp32")
    assert file is not None  # the manifest's own validator guarantees it
    data = bundle.read(file)
    check_graph(data, manifest, file.path)
    runner = _open_session(manifest, data, device, file.path)
    rows = golden_rows(bundle)
    check_golden(manifest, load_golden(bundle).outputs, _replay(runner, rows, file.path))
    status = ModelStatus(
        key=ModelKey(manifest.name, manifest.version),
        device=device,
        precision="fp32",
        cost=measure_cost(
            runner,
            rows,
            max_tokens=manifest.max_tokens,
            lanes=lanes,
            # A CPU run happens on the thread that asks for it, so its own seconds are counted: the wall clock of a
            # busy machine turns the line through a few samples into nonsense.
            clock=time.thread_time if device == "cpu" else time.perf_counter,
        ),
    )
    return LoadedModel(runner, runner, status, probe=min(rows, key=len))


def _open_session(manifest: Manifest, data: bytes, device: Device, path: str) -> OrtRunner:
    try:
        return OrtRunner(manifest, data, device)
    except DeviceError:
        raise
    except Exception as error:  # the runtime raises its own types, for an operator that it does not know among others
        raise BundleError("B06-graph", f"{path}: ONNX Runtime refuses it: {_first_line(error)}") from error


def _replay(runner: Runner, rows: list[Ids], path: str) -> Mapping[str, Rows]:
    try:
        return run_in_batches(runner, rows)
    except Exception as error:  # the runtime's own types again
        raise BundleError("B10-golden", f"{path}: the golden inputs cannot be run: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def golden_rows(bundle: Bundle) -> list[Ids]:
    """The golden texts as token ids, through the bundle's own tokenizer, over-long ones cut at their end."""
    tokenizer = load_tokenizer(bundle.read(bundle.manifest.file("tokenizer")))
    cut = cutting(tokenizer, bundle.manifest.max_tokens, "end")
    return [np.asarray(cut.encode(text).ids, np.int32) for text in load_golden(bundle).texts]


def run_in_batches(runner: Runner, rows: list[Ids]) -> Mapping[str, Rows]:
    """Every row's outputs, run in small batches of mixed lengths, as traffic will be."""
    parts = [runner.run(rows[start : start + GOLDEN_BATCH]) for start in range(0, len(rows), GOLDEN_BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def measure_cost(runner: Runner, rows: list[Ids], *, max_tokens: int, lanes: int, clock: Clock) -> Cost:
    """Time a few shapes on this machine; the best of some repeats counts, since noise only adds."""
    pool = np.concatenate(rows)
    samples = []
    for count, tokens in SHAPES:
        batch = [np.resize(pool[i:], min(tokens, max_tokens)) for i in range(count)]
        times = []
        for _ in range(REPEATS):
            started = clock()
            runner.run(batch)
            times.append(clock() - started)
        samples.append(Sample(tokens=count * len(batch[0]), ms=min(times) * 1e3))
    return fit(samples, lanes=lanes)
