"""Which attention kernel does ONNX Runtime use?

Fused kernels read where sequences begin and nothing of `token_offset`; the plain one reads its values, which a packed
batch leaves at 0, and would answer wrongly without a word. So a packed plan is only taken if ONNX Runtime says that a
fused kernel runs. It says so on the process's standard output, if an environment variable is set when the session is
made (contrib_ops/cuda/bert/attention_kernel_options.cc); a session of its own is made for the question.
"""

import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DEBUG_VARIABLE = "ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO"
KERNEL = re.compile(rb"SdpaKernel=([A-Z_]+)")
FUSED = frozenset({"FLASH_ATTENTION", "EFFICIENT_ATTENTION", "TRT_FUSED_ATTENTION", "TRT_FLASH_ATTENTION"})

FLASH = 1  # bits of the CUDA provider's option sdpa_kernel; any of them switches its own choice off
EFFICIENT = 2
TRT_FUSED = 4
TRT_FLASH = 32


class KernelError(Exception):
    """Attention would not run in a fused kernel, or nobody says in which."""


def attention_kernels(use: Callable[[], None]) -> frozenset[str]:
    """The kernels that attention ran in while `use` made a session and ran it.

    Raises:
        KernelError: one of them is not fused, or ONNX Runtime did not say.
    """
    before = os.environ.get(DEBUG_VARIABLE)
    os.environ[DEBUG_VARIABLE] = "1"
    said = b""
    try:
        with _standard_output() as written:
            use()
            said = written()
    finally:
        if before is None:
            del os.environ[DEBUG_VARIABLE]
        else:
            os.environ[DEBUG_VARIABLE] = before
    found = frozenset(name.decode() for name in KERNEL.findall(said))
    if not found:
        raise KernelError("ONNX Runtime does not say in which kernel attention runs")
    if slow := found - FUSED:
        raise KernelError(f"attention runs in {', '.join(sorted(slow))}, which is not a fused kernel")
    return found


@contextmanager
def _standard_output() -> Iterator[Callable[[], bytes]]:
    """Catch what the process, C++ included, writes to standard output; all but ONNX Runtime's lines is passed on."""
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:

        def written() -> bytes:
            ctypes.CDLL(None).fflush(None)
            file.seek(0)
            return file.read()

        os.dup2(file.fileno(), 1)
        try:
            yield written
        finally:
            sys.stdout.flush()
            lines = written().splitlines(keepends=True)
            os.dup2(kept, 1)
            os.close(kept)
            os.write(1, b"".join(line for line in lines if not KERNEL.search(line)))
