"""Only errors that leave the device unusable end the process."""

import pytest

from app.engine.cuda_errors import DeviceLostError, device_errors, is_device_lost

NODE = "Non-zero status code returned while running MatMul node. Name:'layer0.qkv' Status Message: "

LOST = [
    "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=h ; file=cuda_graph.cc ; line=49",
    NODE + "CUDA failure 719: unspecified launch failure ; GPU=0",
    NODE + "CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; GPU=0",
    NODE + "CUBLAS error executing cublasGemmHelper(GetCublasHandle(ctx), transB, transA)",
    "CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0",
    "CUDA failure 2: out of memory ; GPU=0\nCUDA failure 700: an illegal memory access was encountered",
]
PASSING = [
    "CUDA failure 2: out of memory ; GPU=0",
    "CUDA failure 900: operation not permitted when stream is capturing ; GPU=0",
    "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
    "Failed to allocate memory for requested buffer of size 1207959552",
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: input_ids",
]


@pytest.mark.parametrize("message", LOST)
def test_sticky_error_means_that_the_device_is_lost(message: str) -> None:
    with pytest.raises(DeviceLostError, match="the GPU is lost to this process") as raised, device_errors():
        raise RuntimeError(message)

    assert str(raised.value.__cause__) == message


@pytest.mark.parametrize("message", PASSING)
def test_other_errors_pass_as_they_are(message: str) -> None:
    with pytest.raises(RuntimeError) as raised, device_errors():
        raise RuntimeError(message)

    assert str(raised.value) == message


def test_lost_device_is_told_once() -> None:
    error = DeviceLostError("gone")

    with pytest.raises(DeviceLostError) as raised, device_errors():
        raise error

    assert raised.value is error
    assert is_device_lost(error)
