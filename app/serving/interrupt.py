"""How does something outside of a task end what the task does, with an error of its own?

A deadline that passes, a caller who goes away: both cancel the task, and what is raised in it says why. Does what
`asyncio.timeout` does for the one reason it knows, at a third of its price.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

Register = Callable[[Callable[[], None] | None], None]


class Interruptible:
    """A context that ends with `error()` when `interrupt` is called while its body waits. Entered by the waiting task.

    A cancellation from elsewhere passes through as it is.

    Args:
        error: makes what is raised.
        after_s: when to interrupt, if nobody does before.
        register: gets `interrupt` at the start, and None at the end.
    """

    __slots__ = ("_after_s", "_error", "_is_interrupted", "_register", "_task", "_timer")

    def __init__(
        self, error: Callable[[], Exception], *, after_s: float | None = None, register: Register | None = None
    ) -> None:
        self._error = error
        self._after_s = after_s
        self._register = register
        self._timer: asyncio.TimerHandle | None = None
        self._is_interrupted = False

    def interrupt(self) -> None:
        """End the body. For callbacks of the task's event loop."""
        if not self._is_interrupted:
            self._is_interrupted = True
            self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # a coroutine always runs in a task
        self._task = task
        if self._after_s is not None:
            self._timer = asyncio.get_running_loop().call_later(self._after_s, self.interrupt)
        if self._register is not None:
            self._register(self.interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._register is not None:
            self._register(None)
        if self._is_interrupted:
            self._task.uncancel()
            if kind is asyncio.CancelledError:
                raise self._error() from error
