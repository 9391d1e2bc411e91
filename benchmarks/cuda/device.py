"""Which GPU is this, and how is a packed graph run on it?"""

import subprocess
from collections.abc import Callable
from pathlib import Path

from onnx import ModelProto

from app.bundle.packed import PackedSpec
from app.engine.cuda_buckets import Limits
from app.engine.cuda_kernels import KernelError, attention_kernels
from app.engine.cuda_session import OrtPackedSession, PackedSession
from app.engine.session import DeviceError, choose_device
from benchmarks.cuda.bench import SIZES, Bench
from benchmarks.cuda.result import Gpu

# Dense fp16 with fp32 sums, TFLOP/s, from NVIDIA's data sheets; the longer name first.
PEAKS = (
    ("H200", 989.0),
    ("H100 PCIe", 756.0),
    ("H100", 989.0),
    ("B200", 2250.0),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("L4", 121.0),
    ("A10", 125.0),
    ("T4", 65.0),
)


def describe() -> Gpu:
    """The first GPU, as the driver describes it.

    Raises:
        DeviceError: there is none that ONNX Runtime can use.
    """
    if choose_device("auto") != "cuda":
        raise DeviceError("there is no GPU that ONNX Runtime can use; it takes a CUDA device and onnxruntime-gpu")
    name, driver, memory = _ask("name,driver_version,memory.total").split(", ")
    peak = next((tflops for part, tflops in PEAKS if part in name), None)
    return Gpu(name=name, driver=driver, memory_mib=int(memory), peak_tflops=peak)


def cuda_bench(gpu: Gpu, models: Path) -> Bench:
    """The experiments' view of this machine."""
    return Bench(
        device="cuda",
        open=_open,
        kernels_of=_kernels,
        memory_mib=lambda: int(_ask("memory.used")),
        peak_tflops=gpu.peak_tflops,
        models=models,
        sizes=SIZES,
    )


def _open(model: ModelProto, spec: PackedSpec, limits: Limits, *, kernels: int, graphs: bool) -> PackedSession:
    return OrtPackedSession(model.SerializeToString(), spec, limits, "cuda", kernels=kernels, graphs=graphs)


def _kernels(use: Callable[[], None]) -> str:
    try:
        return ", ".join(sorted(attention_kernels(use)))
    except KernelError as error:  # which one it is, is what the experiment asks
        return str(error)


def _ask(fields: str) -> str:
    command = ["nvidia-smi", "--id=0", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise DeviceError(f"nvidia-smi does not describe the GPU: {error}") from error
