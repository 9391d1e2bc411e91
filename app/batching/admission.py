"""May this request enter?

Decided once, before any real work: if what is already in the house keeps the engines busy for longer than
`max_wait_ms`, the newcomer is refused whole, with the predicted wait. What enters is counted in milliseconds of engine
time, first from its number of bytes, after tokenising from its tokens. The count is the sum over all front ends, kept
on a `Board` that they share. No clock, no waiting.

What keeps the engines busy before a newcomer runs depends on who it is, for they are shared fairly
(app/batching/flows.py): of another flow's work no more than its share beside what the newcomer's own flow has inside.
So a caller who queues a thousand texts closes the door to himself, and not to others.

The prediction follows from the measured price of a run; how far the machine of this hour is off it – other processes
want the cores too, and lengths take turns – is learnt from the waits that come true. It is one that nine waits of ten
stay below: who is let in on a mean waits longer than the limit half of the time.
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

from app.batching.cost import predicted_wait_ms
from app.batching.flows import WEIGHTS
from app.errors import OverloadedError
from app.types import ANYONE, Cost, Flow

QUANTILE = 0.9  # of the waits that come true: the share that is not above the prediction
LEARN_STEP = 0.02  # each answer moves the logarithm of the ratio up by 0.9 of it, or down by 0.1
LEARN_FROM_MS = 50.0  # less work says nothing: its wait is within the noise of one run
RATIO_MIN, RATIO_MAX = 0.5, 4.0
FLOWS_MAX = 64  # told apart; beyond, none of them is much of the whole, and a refusal would cost more than it should


class Board(Protocol):
    """What all front ends have let in, in milliseconds of engine time."""

    def write(self, own_ms: float) -> None:
        """Put up what this front end has let in."""
        ...

    def total_ms(self) -> float:
        """The sum over all front ends."""
        ...


class LocalBoard:
    """A board for a front end that is alone."""

    def __init__(self) -> None:
        self._own_ms = 0.0

    def write(self, own_ms: float) -> None:
        """See `Board`."""
        self._own_ms = own_ms

    def total_ms(self) -> float:
        """See `Board`."""
        return self._own_ms


class Ticket:
    """The place of one admitted request; a context manager that gives it back exactly once."""

    __slots__ = ("_admission", "_ahead_ms", "_flow", "_ms")

    def __init__(self, admission: "Admission", flow: Flow, ms: float, ahead_ms: float) -> None:
        self._admission = admission
        self._flow = flow
        self._ms = ms
        self._ahead_ms = ahead_ms  # the work that stood before it at the door

    def reserve(self, tokens: int, cost: Cost) -> None:
        """Replace the estimate by the counted tokens."""
        ms = predicted_wait_ms(tokens, cost)
        self._admission.add(self._flow, ms - self._ms)
        self._ms = ms

    def waited(self, queue_ms: float) -> None:
        """Tell how long it really took until the request ran."""
        self._admission.learn(self._ahead_ms, queue_ms)

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_: object) -> None:
        self._admission.add(self._flow, -self._ms, -1)


@dataclass(slots=True)
class Inside:
    """What one flow has in the house."""

    ms: float = 0.0
    requests: int = 0


class Admission:
    """The door of one front end."""

    def __init__(self, *, max_wait_ms: float, board: Board | None = None) -> None:
        self._max_wait_ms = max_wait_ms
        self._board = board or LocalBoard()
        self._own_ms = 0.0
        self._requests = 0
        self._by_flow = defaultdict[Flow, Inside](Inside)  # what the two are made of
        self._ratio = 1.0  # of the waits that came true to the work that stood before them: their 0.9 quantile

    def wait_ms(self, flow: Flow = ANYONE) -> float:
        """The predicted wait of a request of `flow` that came now."""
        return self._ratio * self._ahead_ms(flow)

    def check(self, flow: Flow = ANYONE) -> None:
        """Return if the predicted wait is within the limit.

        Raises:
            OverloadedError: it is not.
        """
        wait_ms = self.wait_ms(flow)
        if wait_ms > self._max_wait_ms:
            raise OverloadedError(
                f"the predicted wait is {wait_ms:.0f} ms; the limit is {self._max_wait_ms:.0f} ms; retry later",
                # By then the wait has fallen to half the limit, so that a repeat is let in and not refused again.
                retry_after_ms=math.ceil(wait_ms - self._max_wait_ms / 2),
            )

    def admit(self, tokens: int, cost: Cost, flow: Flow = ANYONE) -> Ticket:
        """Take a request of about `tokens` tokens in.

        Raises:
            OverloadedError: what is inside already means a longer wait than `max_wait_ms`.
        """
        self.check(flow)
        ahead_ms, ms = self._ahead_ms(flow), predicted_wait_ms(tokens, cost)
        self.add(flow, ms, 1)
        return Ticket(self, flow, ms, ahead_ms)

    def add(self, flow: Flow, ms: float, requests: int = 0) -> None:
        """Count work and requests that came in, or, below 0, that have left."""
        inside = self._by_flow[flow]
        inside.ms += ms
        inside.requests += requests
        if not inside.requests:
            del self._by_flow[flow]
        self._requests += requests
        self._own_ms += ms
        self._board.write(self._own_ms)

    def learn(self, ahead_ms: float, actual_ms: float) -> None:
        """Move the ratio towards the quantile of what is seen: `ahead_ms` of work at the door, and the wait behind it.

        The ratio of that moment has no part in it. A wait comes true only later, and corrections of a ratio that was
        corrected meanwhile would add up: the door would swing between far too much and nothing.
        """
        if ahead_ms < LEARN_FROM_MS:
            return
        is_above = actual_ms > self._ratio * ahead_ms
        ratio = self._ratio * math.exp(LEARN_STEP * (is_above - (1 - QUANTILE)))  # stochastic quantile descent
        self._ratio = min(max(ratio, RATIO_MIN), RATIO_MAX)

    def _ahead_ms(self, flow: Flow) -> float:
        """The work that runs before a newcomer of `flow`."""
        total_ms = self._board.total_ms()
        if not self._requests or len(self._by_flow) > FLOWS_MAX:
            return total_ms
        # What the flow has inside, and the newcomer, who is taken for one like the others.
        own_ms = self._by_flow[flow].ms if flow in self._by_flow else 0.0
        own_ms += self._own_ms / self._requests
        per_weight = own_ms / WEIGHTS[flow.priority]
        ahead_ms = sum(min(inside.ms, per_weight * WEIGHTS[other.priority]) for other, inside in self._by_flow.items())
        # The callers of other front ends are taken to be as those of this one.
        return total_ms * ahead_ms / self._own_ms if self._own_ms > 0 else total_ms
