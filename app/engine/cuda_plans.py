"""In which ways can a bundle run on a GPU?

From the fastest on most devices downwards: a packed graph in half precision with packed or with separate QKV, padded
batches in half precision, padded batches in float32. `choose_plan` takes what is fastest here and gives the golden
outputs (app/engine/cuda_choice.py). A packed plan must also have its attention in fused kernels.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from onnx import ModelProto

from app.bundle.golden import check_golden
from app.bundle.manifest import Manifest
from app.bundle.packed import PackedSpec, read_packed, separate_qkv
from app.bundle.packing import pack
from app.engine.attempts import Attempts
from app.engine.cuda_buckets import LONGEST_STEPS, Limits, eager_shape, limits_for
from app.engine.cuda_choice import Candidate, Choice, Choosing, DeviceRunner
from app.engine.cuda_errors import device_errors
from app.engine.cuda_kernels import EFFICIENT, FLASH, TRT_FLASH, TRT_FUSED, attention_kernels
from app.engine.cuda_padded import PaddedRunner
from app.engine.cuda_session import NO_GRAPH, OrtPackedSession
from app.engine.packed import PackedRunner
from app.engine.session import Device
from app.types import Clock, Item, Rows

log = logging.getLogger(__name__)

GRAPHS = "+graphs"  # in a plan's name: small batches replay CUDA graphs
GOLDEN_BATCH = 8
HALF_MAX_ABS_DIFF = 2e-3  # of unit vectors; half precision, emulated, keeps 4e-4
PRECISIONS: tuple[Literal["fp16", "fp32"], ...] = ("fp16", "fp32")


def choose_plan(
    manifest: Manifest,
    *,
    model: bytes,
    packed: bytes | None,
    rows: Sequence[Item],
    expected: Mapping[str, Rows],
    attempts: Attempts,
    clock: Clock,
    device: Device = "cuda",
) -> Choice:
    """The fastest way to run a bundle on this GPU that gives its golden outputs.

    Args:
        model: the bundle's float32 graph.
        packed: its packed graph, if it has one.
        rows: the golden inputs as ids, with `expected` by output name.
        attempts: which plans an engine died of.
        device: `cpu` rehearses the choice where there is no GPU; packed plans are refused there.

    Raises:
        NoPlanError: there is none. DeviceLostError: this process has to end. BundleError: `packed` is no packed graph.
    """

    def check(runner: DeviceRunner, candidate: Candidate) -> None:
        strict = golden_limits(manifest, candidate.precision)
        check_golden(strict, expected, runner.run(rows))
        parts = [runner.run(rows[start : start + GOLDEN_BATCH]) for start in range(0, len(rows), GOLDEN_BATCH)]
        check_golden(strict, expected, {name: np.concatenate([part[name] for part in parts]) for name in expected})

    choosing = Choosing(check, timing_batches(rows), attempts, clock)
    return choosing.choose(cuda_candidates(manifest, model, packed, deadly=attempts.deadly(), device=device))


def cuda_candidates(
    manifest: Manifest,
    model: bytes,
    packed: bytes | None,
    *,
    deadly: Collection[str] = (),
    device: Device = "cuda",
) -> list[Candidate]:
    """The ways to run a bundle. A packed plan goes without CUDA graphs where an engine died of it with them."""
    found: list[Candidate] = []
    if packed is not None:
        graph, spec = read_packed(packed, "the packed graph")
        for name, layout, kernels in (
            ("packed-qkv", graph, FLASH | EFFICIENT),
            ("packed-separate", separate_qkv(graph), FLASH | EFFICIENT),
            ("packed-qkv-trt", graph, TRT_FUSED | TRT_FLASH | EFFICIENT),  # Turing has no flash; Ampere may like it
        ):
            graphs = name + GRAPHS not in deadly
            opened = partial(open_packed, layout, spec, device, kernels=kernels, graphs=graphs)
            found.append(Candidate(name + GRAPHS if graphs else name, "fp16", opened))
    for precision in PRECISIONS:
        opened_padded = partial(PaddedRunner, manifest, model, device, precision)
        found.append(Candidate(f"padded-{precision}", precision, opened_padded))
    return found


def open_packed(model: ModelProto, spec: PackedSpec, device: Device, *, kernels: int, graphs: bool) -> PackedRunner:
    """A packed runner whose attention runs in fused kernels on this device.

    Raises:
        KernelError: it would not. DeviceLostError: this process has to end.
    """
    data, limits = model.SerializeToString(), limits_for(spec)
    open_session = partial(OrtPackedSession, data, spec, limits, device, kernels=kernels)
    with device_errors():
        found = attention_kernels(partial(_probe, open_session, spec, limits))
    log.info("attention runs in %s", ", ".join(sorted(found)))
    return PackedRunner(spec, limits, lambda captures: open_session(graphs=captures), graphs=graphs)


def timing_batches(rows: Sequence[Item]) -> dict[str, list[Item]]:
    """Kinds of batches made of real rows: one text, some, and as many as a busy engine sees."""
    ordered = sorted(rows, key=len)
    middle = ordered[len(ordered) // 2]
    typical = [row for row in ordered if len(row) <= 4 * len(middle)]  # golden inputs have giants among them
    return {
        "1 row": [middle],
        "32 rows": [typical[place % len(typical)] for place in range(32)],
        "256 rows": [typical[place % len(typical)] for place in range(256)],
    }


def golden_limits(manifest: Manifest, precision: str) -> Manifest:
    """The manifest with limits that its golden outputs can keep in half precision; float32 keeps the bundle's."""
    if precision == "fp32":
        return manifest
    limit = max(manifest.golden.max_abs_diff, HALF_MAX_ABS_DIFF)
    return manifest.model_copy(update={"golden": manifest.golden.model_copy(update={"max_abs_diff": limit})})


def _probe(open_session: Callable[..., OrtPackedSession], spec: PackedSpec, limits: Limits) -> None:
    """One run in every S, each of which may choose a kernel of its own."""
    session = open_session(graphs=False)
    for longest in (*(step for step in LONGEST_STEPS if step < limits.longest), limits.longest):
        row = np.full(min(longest, spec.max_tokens), spec.pad_id, np.int32)
        session.run(pack([row], eager_shape([len(row)]), spec), NO_GRAPH)
