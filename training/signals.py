"""What happens when a command is told to end?

SIGTERM, from a container or a scheduler, ends a command as Ctrl-C does: what is half done is taken back. While a model
trains both signals are only noted, so that the loop ends where it stands well: after a step, with a checkpoint. Exit
codes are those of shells, 128 + the signal: 143 and 130.
"""

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

SHELL_BASE = 128
Handler = Callable[[int, FrameType | None], None]
Result = TypeVar("Result")


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """While this lasts, SIGTERM raises `Terminated`."""
    with _handling((signal.SIGTERM,), _terminate):
        yield


class Stop:
    """Which signal came first, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._is_open = False

    def note(self, number: int, _frame: FrameType | None) -> None:
        """The handler. A second signal changes nothing: `timeout` sends its child the same one twice.

        Raises:
            KeyboardInterrupt: for `unless_stopped` alone.
        """
        self.signal = self.signal or signal.Signals(number)
        if self._is_open:
            self._is_open = False
            raise KeyboardInterrupt

    def came(self) -> bool:
        """Whether there was one."""
        return self.signal is not None

    def unless_stopped(self, work: Callable[[], Result]) -> Result | None:
        """What `work` gives; None if a signal came before its end. It is left where it stands, so it must not write."""
        try:
            self._is_open = self.signal is None
            result = work() if self._is_open else None
            self._is_open = False
        except KeyboardInterrupt:
            if self.signal is None:
                raise
            return None
        return result


@contextmanager
def noted(stop: Stop) -> Iterator[Stop]:
    """While this lasts, SIGTERM and SIGINT are noted in `stop` and not obeyed."""
    with _handling((signal.SIGTERM, signal.SIGINT), stop.note):
        yield stop


class _SignalStack(ctypes.Structure):
    """`stack_t` of sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("bytes", ctypes.c_size_t))


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Afterwards, this thread takes signals on the stack it took them on before. Linux alone has need of it.

    Each CPU plugin of OpenVINO gives its thread a signal stack, and when it goes the one that was there before it came.
    Of two that end in the order they came, the second gives back the first one's, whose memory is gone: from then on
    the next signal, of Ctrl-C or of a scheduler, is a segmentation fault.
    """
    if sys.platform != "linux":
        yield
        return
    libc, before = ctypes.CDLL(None, use_errno=True), _SignalStack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)


@contextmanager
def _handling(numbers: tuple[signal.Signals, ...], handler: Handler) -> Iterator[None]:
    """Handle these signals, but for those that are ignored (nohup). Only the main thread may say so, and only it gets
    signals: in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old or signal.SIG_DFL)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
