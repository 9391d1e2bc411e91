"""May this request enter?

Decided once, before any real work, on an estimate from the byte count: if what is already in the house keeps the
engine busy for longer than `max_wait_ms`, the newcomer is refused whole, with the predicted wait. After tokenising,
the estimate is replaced by the truth. Pure bookkeeping for one front end: no clock, no waiting.
"""

import math

from app.batching.cost import predicted_wait_ms
from app.errors import OverloadedError
from app.types import Cost


class Ticket:
    """The place of one admitted request; a context manager that gives its tokens back exactly once."""

    def __init__(self, admission: "Admission", tokens: int) -> None:
        self._admission = admission
        self._tokens = tokens

    def reserve(self, tokens: int) -> None:
        """Replace the estimate by the counted tokens."""
        self._admission.tokens += tokens - self._tokens
        self._tokens = tokens

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_: object) -> None:
        self.reserve(0)


class Admission:
    """The tokens inside this front end, and the limit on the wait that they mean."""

    def __init__(self, *, max_wait_ms: float) -> None:
        self._max_wait_ms = max_wait_ms
        self.tokens = 0

    def admit(self, tokens: int, cost: Cost) -> Ticket:
        """Take a request of about `tokens` tokens in.

        Raises:
            OverloadedError: see `check`.
        """
        self.check(cost)
        self.tokens += tokens
        return Ticket(self, tokens)

    def check(self, cost: Cost) -> None:
        """Return if a newcomer may enter.

        Raises:
            OverloadedError: what is inside already means a longer wait than `max_wait_ms`.
        """
        wait_ms = predicted_wait_ms(self.tokens, cost)
        if wait_ms > self._max_wait_ms:
            raise OverloadedError(
                f"the predicted wait is {wait_ms:.0f} ms; the limit is {self._max_wait_ms:.0f} ms; retry later",
                # By then the wait has fallen to half the limit, so that a repeat is let in and not refused again.
                retry_after_ms=math.ceil(wait_ms - self._max_wait_ms / 2),
            )
