"""How is ONNX Runtime set up on this device?

The device that was asked for is the device that runs: a CUDA session that would fall back to the CPU, whole or for
single nodes, is refused. Sources: onnxruntime docs, "CUDA Execution Provider"; onnxruntime#13139 (silent fall-back).
"""

import importlib.metadata
from collections.abc import Mapping
from typing import Literal

import onnx
import onnxruntime as ort

from app.engine.cores import cores

Device = Literal["cpu", "cuda"]

CUDA_OPTIONS = {
    "device_id": 0,
    "arena_extend_strategy": "kNextPowerOfTwo",  # exact sizes never fit again with shapes that vary (onnxruntime#14474)
    "use_tf32": 0,  # fp32 means fp32: TF32 moves unit vectors by 1e-3
    "cudnn_conv_algo_search": "DEFAULT",
}


SPARE_LANES = 1  # runs while the next batch of another lane is formed: no core waits for the event loop
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")  # two distributions that write into one folder


class DeviceError(Exception):
    """The device asked for is not usable here; the message says why and what to do."""


class PlanError(DeviceError):
    """The execution plan asked for is not to be had here; the message says why and what there is."""


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> Device:
    """The device to serve from. `auto` takes CUDA where the installed ONNX Runtime and the machine have it.

    Raises:
        DeviceError: `cuda` was asked for and is not there, or two ONNX Runtimes are installed over each other.
    """
    _check_installed_once({name for name in RUNTIMES if _is_installed(name)})
    if wanted == "cpu":
        return "cpu"
    reason = _why_no_cuda()
    if reason is None:
        return "cuda"
    if wanted == "cuda":
        raise DeviceError(f"ENCODERY_DEVICE=cuda, but {reason}; use ENCODERY_DEVICE=auto or cpu to serve from the CPU")
    return "cpu"


def create_session(
    model: bytes, device: Device, *, threads: int = 1, cuda_options: Mapping[str, object] | None = None
) -> ort.InferenceSession:
    """A session over the bytes of one model file, on `device` and nowhere else.

    Args:
        threads: of a run on a CPU.
        cuda_options: options of the CUDA provider beside the usual ones.

    Raises:
        DeviceError: the session landed on another provider than the one asked for.
    """
    expected = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if expected not in ort.get_available_providers():
        raise DeviceError(f"the installed ONNX Runtime has no {expected}")
    options = ort.SessionOptions()
    # Errors come as exceptions; written to standard error as well, they would wait for whoever should read it.
    options.log_severity_level = 4
    options.enable_mem_pattern = False  # shapes vary from run to run; on a CPU it held 20 MB for nothing
    if device == "cuda":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        providers: list[object] = [("CUDAExecutionProvider", CUDA_OPTIONS | dict(cuda_options or {}))]
    else:
        # One thread a run, several runs side by side: small batches a core beat one batch over all cores, and the web
        # workers share the cores without a spinning pool (docs/benchmarks.md).
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin for work would double the CPU seconds of a run on all cores, at the front ends' cost.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CPUExecutionProvider"]
    session = ort.InferenceSession(model, options, providers=providers, enable_fallback=False)
    session.disable_fallback()
    if session.get_providers()[0] != expected:
        raise DeviceError(f"the session runs on {session.get_providers()[0]}, not on {expected}")
    return session


def lanes_for(device: Device, wanted: int | None, *, share: int = 1) -> int:
    """How many runs go side by side: one a core and a spare on a CPU, one on a GPU, or what the setting says.

    `share` is how many engines the cores are divided among.
    """
    if wanted is not None:
        return wanted
    return 1 if device == "cuda" else cores(share=share) + SPARE_LANES


def _check_installed_once(installed: set[str]) -> None:
    if len(installed) > 1:
        names = " and ".join(sorted(installed))
        raise DeviceError(f"{names} are both installed and overwrite each other; uninstall both and install one extra")


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _why_no_cuda() -> str | None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return "the installed ONNX Runtime has no CUDA; install the extra `cuda` instead of `cpu`"
    ort.preload_dlls()  # the CUDA and cuDNN wheels lie in site-packages, where the loader does not look
    try:
        create_session(_one_node(), "cuda")
    except Exception as error:  # the runtime raises its own types, one for each way to have no driver
        return f"ONNX Runtime cannot use CUDA here ({str(error).splitlines()[0]})"
    return None


def _one_node() -> bytes:
    """The smallest graph that needs the device: y = x + x."""
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    graph = onnx.helper.make_graph([node], "probe", [x], [y])
    opset = [onnx.helper.make_opsetid("", 20)]
    model: bytes = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    return model
