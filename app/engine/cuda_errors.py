"""Can this process still use its GPU after an error?

After an illegal access or a failed launch every further call in the process fails with the same error, whatever it
asks for ("sticky", CUDA Runtime API, section "Error Handling"). Only a new process helps: the engine exits and the
supervisor starts another. Running out of memory and a failed graph capture leave the device usable.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

CUDA_OUT_OF_MEMORY = 2
CUDA_CAPTURE = range(900, 910)  # cudaErrorStreamCapture…: the capture is gone, the device is not
CUBLAS_ALLOC_FAILED = 3

FAILURE = re.compile(r"\b(CUDA|CUBLAS|CUDNN) failure (\d+)")  # as ONNX Runtime words them (cuda_call.cc)
UNNUMBERED = ("CUBLAS error executing", "cudaErrorIllegalAddress", "cudaErrorLaunchFailure")


class DeviceLostError(Exception):
    """The GPU is of no use to this process any more: it has to end, and be replaced."""


def is_device_lost(error: BaseException) -> bool:
    """Whether `error` leaves the device unusable for this process."""
    if isinstance(error, DeviceLostError):
        return True
    said = str(error)
    numbered = [(library, int(number)) for library, number in FAILURE.findall(said)]
    return any(not _is_passing(*failure) for failure in numbered) or any(words in said for words in UNNUMBERED)


@contextmanager
def device_errors() -> Iterator[None]:
    """Errors of the runtime that mean the end of the device become `DeviceLostError`; others pass."""
    try:
        yield
    except DeviceLostError:
        raise
    except Exception as error:  # the runtime's errors have no common class
        if is_device_lost(error):
            raise DeviceLostError(f"the GPU is lost to this process: {first_line(error)}") from error
        raise


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _is_passing(library: str, number: int) -> bool:
    if library == "CUDA":
        return number == CUDA_OUT_OF_MEMORY or number in CUDA_CAPTURE
    return library == "CUBLAS" and number == CUBLAS_ALLOC_FAILED
