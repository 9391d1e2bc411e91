"""ONNX Runtime's word about attention kernels is caught where it is written, below Python."""

import ctypes
import os
from collections.abc import Callable

import pytest

from app.engine.cuda_kernels import DEBUG_VARIABLE, KernelError, attention_kernels

FLASH_LINE = b"Operator=PackedMultiHeadAttention Node=layer0.attention DataType=fp16 SdpaKernel=FLASH_ATTENTION\n"
MATH_LINE = b"Operator=PackedMultiHeadAttention Node=layer1.attention DataType=fp16 SdpaKernel=MATH\n"


def writing(*lines: bytes) -> Callable[[], None]:
    def write() -> None:
        for line in lines:
            os.write(1, line)

    return write


def test_fused_kernels_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    line = FLASH_LINE.replace(b"FLASH", b"EFFICIENT")

    assert attention_kernels(writing(FLASH_LINE, FLASH_LINE, line)) == {"FLASH_ATTENTION", "EFFICIENT_ATTENTION"}


def test_what_c_code_has_buffered_is_seen(capfd: pytest.CaptureFixture[str]) -> None:
    assert attention_kernels(lambda: ctypes.CDLL(None).printf(FLASH_LINE)) == {"FLASH_ATTENTION"}


def test_kernel_that_is_not_fused_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KernelError, match="attention runs in MATH, which is not a fused kernel"):
        attention_kernels(writing(FLASH_LINE, MATH_LINE))


def test_silence_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KernelError, match="does not say"):
        attention_kernels(writing(b"something else\n"))


def test_other_lines_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    attention_kernels(writing(b'{"event": "loaded"}\n', FLASH_LINE))
    print("afterwards")

    assert capfd.readouterr().out == '{"event": "loaded"}\nafterwards\n'


def test_lines_are_passed_on_when_the_session_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        os.write(1, b"before\n")
        raise RuntimeError("no session")

    with pytest.raises(RuntimeError, match="no session"):
        attention_kernels(fail)

    assert capfd.readouterr().out == "before\n"


@pytest.mark.parametrize("before", [None, "0"])
def test_variable_is_set_for_the_session_alone(
    before: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if before is None:
        monkeypatch.delenv(DEBUG_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(DEBUG_VARIABLE, before)
    seen: list[str | None] = []

    def look() -> None:
        seen.append(os.environ.get(DEBUG_VARIABLE))
        os.write(1, FLASH_LINE)

    attention_kernels(look)

    assert seen == ["1"]
    assert os.environ.get(DEBUG_VARIABLE) == before
