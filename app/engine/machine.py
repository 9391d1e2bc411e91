"""Which machine is this, as far as the speed of a model goes?

What was measured on one machine with one set of libraries says nothing of another: `fingerprint` names everything that
a kept measurement depends on.
"""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "openvino")
VARIABLES = ("ONEDNN_MAX_CPU_ISA",)  # the kernels that oneDNN, in OpenVINO, may choose from


def fingerprint(device: str, *, lanes: int) -> Mapping[str, str]:
    """What a measurement depends on beside the bundle, each by name."""
    return {
        "device": device,
        "cpu": cpu_name(),
        "cores": str(os.cpu_count()),
        "lanes": str(lanes),
        **{name: _version(name) for name in LIBRARIES},
        **{name: os.environ.get(name, "") for name in VARIABLES},
    }


def cpu_name() -> str:
    """The CPU's model as the kernel names it, with its features: virtual machines call many CPUs by one name."""
    flags = " ".join(sorted(flag for flag in cpu_flags() if flag.startswith(("avx", "amx", "asimd", "sve", "bf16"))))
    return f"{_cpu_info().get('model name', platform.processor() or platform.machine())} ({flags})"


def cpu_flags() -> frozenset[str]:
    """What the CPU can, in the kernel's words; empty where there is no Linux kernel to ask."""
    info = _cpu_info()
    return frozenset((info.get("flags") or info.get("Features") or "").split())


def _cpu_info() -> dict[str, str]:
    """The first CPU of the list; they are alike."""
    if not CPU_INFO.exists():
        return {}
    first = CPU_INFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
