"""In which ways can a bundle run on this CPU?

From the most exact to the least: ONNX Runtime over the fp32 graph, anywhere; OpenVINO in bf16 over the same graph,
where the CPU multiplies bf16; OpenVINO over the bundle's int8 pair. OpenVINO in fp32 is no plan: at most 6 % faster
than ONNX Runtime on batches and slower on short texts (adr/0006). Which of them serves is measured: cpu_choice.py.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from app.bundle.errors import BundleError
from app.bundle.graph import check_graph
from app.bundle.ir import check_ir
from app.bundle.manifest import Precision
from app.bundle.open import Bundle
from app.engine.agree import first_line
from app.engine.machine import cpu_flags
from app.engine.runner import OrtRunner
from app.engine.session import Device, DeviceError, PlanError
from app.types import Runner

Setting = Literal["auto", "fp32", "bf16", "int8"]
BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})  # Intel, AMD; Arm

Open = Callable[[int, int], Runner]  # runs side by side, threads of all of them together


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to run a bundle: `missing` says why it cannot be had here, else `open` makes a runner of it."""

    name: str
    precision: Precision
    path: str
    open: Open
    pad_to: int = 1
    missing: str | None = None

    def lane(self, lanes: int) -> Runner:
        """A runner for `lanes` runs side by side, one thread each.

        Raises:
            BundleError: B06, the runtime refuses the file. DeviceError: it would not run where it was told to.
        """
        return self._opened(lanes, lanes)

    def wide(self, threads: int) -> Runner:
        """A runner for one run at a time, on `threads` threads. Raises as `lane` does."""
        return self._opened(1, threads)

    def _opened(self, streams: int, threads: int) -> Runner:
        try:
            return self.open(streams, threads)
        except (DeviceError, BundleError):
            raise
        except Exception as error:  # runtimes raise their own types, for an operator they do not know among others
            detail = f"{self.path}: {self.name.partition('-')[0]} refuses it: {first_line(error)}"
            raise BundleError("B06-graph", detail) from error


def candidates(bundle: Bundle, device: Device = "cpu") -> list[Plan]:
    """Every plan there is, those that cannot be had here included; the first is the reference and always can."""
    graph = functools.cache(functools.partial(_read_graph, bundle))  # 90 MB and more, for two plans
    file = bundle.manifest.model_file("fp32")
    assert file is not None  # the manifest's own validator guarantees it

    def onnxruntime(streams: int, threads: int) -> Runner:
        return OrtRunner(bundle.manifest, graph(), device, threads=threads // streams)

    reference = Plan("onnxruntime-fp32", "fp32", file.path, onnxruntime)
    if (
        device != "cpu" or bundle.manifest.vectors is not None
    ):  # small graphs of numbers, for which nothing else is built
        return [reference]
    return [reference, _bf16(bundle, file.path, graph), _int8(bundle)]


def wanted(plans: Sequence[Plan], setting: Setting, model: str) -> list[Plan]:
    """The plans to choose from under `setting`.

    Raises:
        PlanError: the pinned plan is not to be had here.
    """
    if setting == "auto":
        return list(plans)
    pinned = next((plan for plan in plans if plan.precision == setting), None)
    missing = "a GPU has no such plan, and no model of vectors" if pinned is None else pinned.missing
    if pinned is None or missing is not None:
        there = ", ".join(plan.precision for plan in plans if plan.missing is None)
        raise PlanError(f"ENCODERY_PLAN={setting}, but {model} cannot run so here: {missing}; it can run as: {there}")
    return [pinned]


def _bf16(bundle: Bundle, path: str, graph: Callable[[], bytes]) -> Plan:
    missing = _no_openvino()
    if missing is None and not cpu_flags() & BF16_FLAGS:
        missing = "this CPU has no bf16 instructions"

    def openvino(streams: int, threads: int) -> Runner:
        from app.engine.openvino import OpenVinoRunner

        return OpenVinoRunner(bundle.manifest, graph(), hint="bf16", streams=streams, threads=threads)

    return Plan("openvino-bf16", "bf16", path, openvino, _pad_to(missing), missing)


def _int8(bundle: Bundle) -> Plan:
    missing = _no_openvino()
    model, weights = bundle.manifest.model_file("int8", "cpu"), bundle.manifest.weights_file("int8")
    if model is None or weights is None:
        has = ", ".join(sorted({str(file.precision) for file in bundle.manifest.files if file.role == "model"}))
        missing = f"the bundle has no int8 files; it has: {has}"
    elif "unverified" in (model.state, weights.state):
        missing = f"{model.path} is unverified: it has not passed its gate"

    def openvino(streams: int, threads: int) -> Runner:
        from app.engine.openvino import OpenVinoRunner

        assert model is not None and weights is not None  # else `missing` says so
        data = bundle.read(model), bundle.read(weights)
        check_ir(data[0], len(data[1]), bundle.manifest, model.path)
        return OpenVinoRunner(bundle.manifest, *data, hint="f32", streams=streams, threads=threads)

    path = model.path if model is not None else ""
    return Plan("openvino-int8", "int8", path, openvino, _pad_to(missing), missing)


def _no_openvino() -> str | None:
    """Why OpenVINO cannot be used here, or None. Most of the time it is not installed."""
    try:
        import app.engine.openvino  # noqa: F401  # loads some 100 MB of libraries: only where it may be used
    except ImportError as error:
        if getattr(error, "name", None) == "openvino":
            return "openvino is not installed; the extra `cpu` brings it"
        return f"openvino cannot be loaded: {first_line(error)}"
    return None


def _pad_to(missing: str | None) -> int:
    if missing is not None:
        return 1
    from app.engine.openvino import PAD_TO

    return PAD_TO


def _read_graph(bundle: Bundle) -> bytes:
    file = bundle.manifest.model_file("fp32")
    assert file is not None  # the manifest's own validator guarantees it
    data = bundle.read(file)
    check_graph(data, bundle.manifest, file.path)
    return data
