"""Bundles with an OpenVINO pair, and runners whose time is told by a clock of the test's own."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openvino as ov

from app.bundle.golden import load_golden
from app.bundle.manifest import Precision
from app.bundle.open import Bundle, open_bundle
from app.engine.agree import Exam
from app.engine.cpu_plans import Plan, candidates
from app.engine.load import golden_rows
from app.types import Item, Rows, Runner
from tests.contract.bundles import ENCODER, MODEL, Json, copy_of, edit_manifest

PRECISIONS: Mapping[str, Precision] = {"onnxruntime-fp32": "fp32", "openvino-bf16": "bf16", "openvino-int8": "int8"}
PAIR = ("model.int8.xml", "model.int8.bin")


def with_pair(store: Path, *, state: str = "verified", scale: float = 1.0) -> Path:
    """The tiny encoder with an IR pair beside its graph, named int8; returns its folder.

    The pair is the fp32 graph in OpenVINO's own format: what is tested is how it is handled, not how it is rounded.
    A `scale` other than 1 multiplies the last weight matrix, which makes it another model.
    """
    folder = copy_of(ENCODER, store)
    model = ov.Core().read_model((folder / MODEL).read_bytes())
    if scale != 1.0:
        _scale_a_weight(model, scale)
    ov.save_model(model, folder / PAIR[0], compress_to_fp16=False)

    def name_them(manifest: Json) -> None:
        manifest["format"] = 2
        for path, role in zip(PAIR, ("model", "weights"), strict=True):
            data = (folder / path).read_bytes()
            entry = {"path": path, "role": role, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            manifest["files"].append(entry | {"device": "cpu", "precision": "int8", "state": state})

    edit_manifest(folder, name_them)
    return folder


def _scale_a_weight(model: ov.Model, scale: float) -> None:
    matrices = [op for op in model.get_ordered_ops() if op.get_type_name() == "Constant" and len(op.shape) == 2]
    matrix = max(matrices, key=lambda op: op.data.size)
    replacement = ov.opset13.constant(np.flip(matrix.data, axis=0) * scale)
    for target in matrix.output(0).get_target_inputs():
        target.replace_source_output(replacement.output(0))


def exam_of(folder: Path) -> Exam:
    bundle = open_bundle(folder)
    return Exam(bundle.manifest, golden_rows(bundle), load_golden(bundle).outputs)


def plan_of(bundle: Bundle, name: str) -> Plan:
    return next(plan for plan in candidates(bundle) if plan.name == name)


class TestClock:
    """Seconds that pass only while a `PacedRunner` runs."""

    __test__ = False  # not a test class, whatever its name begins with

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True, slots=True)
class PacedRunner:
    """The answers of `runner`, each run at a price."""

    runner: Runner
    clock: TestClock
    ms_per_token: float

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        self.clock.now_s += (1.0 + len(rows) * max(map(len, rows)) * self.ms_per_token) / 1e3
        return self.runner.run(rows)


def paced(reference: Plan, clock: TestClock, prices: Mapping[str, float]) -> list[Plan]:
    """Plans that all answer as `reference` does, by name with what a token costs in milliseconds."""

    def opening(ms_per_token: float) -> Callable[[int, int], Runner]:
        return lambda streams, threads: PacedRunner(reference.open(streams, threads), clock, ms_per_token)

    return [
        replace(reference, name=name, precision=PRECISIONS[name], open=opening(price)) for name, price in prices.items()
    ]
