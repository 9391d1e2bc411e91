"""May this request enter?

Decided once, before any real work: if what is already in the house keeps the engines busy for longer than the limit
before the newcomer runs, it is refused whole, with the predicted wait. What enters is counted in milliseconds of engine
time, first from its number of bytes, after tokenising from its tokens. No clock, no waiting.

What keeps the engines busy before a newcomer runs depends on who it is, for they are shared fairly
(app/batching/flows.py): of another flow's work no more than its share beside what the newcomer's own flow has inside
with it. So a caller who queues a thousand texts closes the door to himself, and not to others. Flows are told apart by
a hash, so that front ends can share what they count on a `Board` of fixed size.

The prediction follows from the measured price of a run; how far the machine of this hour is off it – other processes
want the cores too, and lengths take turns – is learnt from the waits that come true. It is one that nine waits of ten
stay below: who is let in on a mean waits longer than the limit half of the time.
"""

import math
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from app.batching.cost import predicted_wait_ms
from app.batching.flows import WEIGHTS
from app.errors import OverloadedError
from app.types import ANYONE, Cost, Flow

QUANTILE = 0.9  # of the waits that come true: the share that is not above the prediction
LEARN_STEP = 0.02  # each answer moves the logarithm of the ratio up by 0.9 of it, or down by 0.1
LEARN_FROM_MS = 50.0  # less work says nothing: its wait is within the noise of one run
RATIO_MIN, RATIO_MAX = 0.5, 4.0
NEWCOMER_MS = 50.0  # of engine time, at most: a request of which only the head is known

HASHES = 64  # of principals; two that share one share a place at the door, and not in the engine
PLACES = len(WEIGHTS) * HASHES  # on the board, by priority and hash
PLACE_WEIGHTS = np.repeat(list(WEIGHTS.values()), HASHES)
PRIORITIES = {priority: number for number, priority in enumerate(WEIGHTS)}

Places = NDArray[np.float64]  # [PLACES], milliseconds of engine time


class Board(Protocol):
    """What all front ends have let in, in milliseconds of engine time, by place."""

    def add(self, place: int, ms: float) -> None:
        """Count work that came in at this front end, or, below 0, that has left."""
        ...

    def places_ms(self) -> Places:
        """The sums over all front ends, by place."""
        ...

    def total_ms(self) -> float:
        """The sum over all places and front ends."""
        ...


class LocalBoard:
    """A board for a front end that is alone."""

    def __init__(self) -> None:
        self._places_ms = np.zeros(PLACES)
        self._total_ms = 0.0

    def add(self, place: int, ms: float) -> None:
        """See `Board`."""
        self._places_ms[place] += ms
        self._total_ms += ms

    def places_ms(self) -> Places:
        """See `Board`."""
        return self._places_ms

    def total_ms(self) -> float:
        """See `Board`."""
        return self._total_ms


class Ticket:
    """The place of one admitted request; a context manager that gives it back exactly once."""

    __slots__ = ("_admission", "_ahead_ms", "_board", "_ms", "_place")

    def __init__(self, admission: "Admission", board: Board, place: int, ms: float, ahead_ms: float) -> None:
        self._admission, self._board, self._place = admission, board, place
        self._ms = ms
        self._ahead_ms = ahead_ms  # the work that stood before it at the door
        board.add(place, ms)

    def reserve(self, tokens: int, cost: Cost) -> None:
        """Replace the estimate by the counted tokens."""
        self._change(predicted_wait_ms(tokens, cost))

    def waited(self, queue_ms: float) -> None:
        """Tell how long it really took until the request ran."""
        self._admission.learn(self._ahead_ms, queue_ms)

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_: object) -> None:
        self._change(0.0)

    def _change(self, ms: float) -> None:
        self._board.add(self._place, ms - self._ms)
        self._ms = ms


class Admission:
    """The door of one front end."""

    def __init__(self, *, max_wait_ms: float, board: Board | None = None) -> None:
        self._max_wait_ms = max_wait_ms
        self._board = board or LocalBoard()
        self._ratio = 1.0  # of the waits that came true to the work that stood before them: their 0.9 quantile

    def wait_ms(self, flow: Flow = ANYONE, ms: float = NEWCOMER_MS) -> float:
        """The predicted wait of a request of `flow` that came now and costs `ms` itself."""
        return self._ratio * self._ahead_ms(place_of(flow), ms)

    def check(self, flow: Flow = ANYONE) -> None:
        """Return if a request of which no more is known would be let in.

        Raises:
            OverloadedError: the predicted wait is over the limit.
        """
        if self._ratio * self._board.total_ms() > self._max_wait_ms:  # else whose it is does not matter
            self._check(self.wait_ms(flow), self._max_wait_ms)

    def admit(self, tokens: int, cost: Cost, flow: Flow = ANYONE, *, timeout_ms: float = math.inf) -> Ticket:
        """Take a request of about `tokens` tokens in.

        Raises:
            OverloadedError: what is inside already means a longer wait than the limit, or than the request has.
        """
        place, ms = place_of(flow), predicted_wait_ms(tokens, cost)
        ahead_ms = self._ahead_ms(place, ms)
        self._check(self._ratio * ahead_ms, min(self._max_wait_ms, timeout_ms))
        return Ticket(self, self._board, place, ms, ahead_ms)

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

    def _ahead_ms(self, place: int, ms: float) -> float:
        """The work that runs before a newcomer at `place` that costs `ms`."""
        if (total_ms := self._board.total_ms()) < LEARN_FROM_MS:
            return total_ms  # too little for whose it is to matter
        places_ms = self._board.places_ms()
        share_ms = (places_ms[place] + ms) / PLACE_WEIGHTS[place]
        # `reduce` and not `sum`, which takes twice as long for so few.
        return float(np.add.reduce(np.minimum(places_ms, share_ms * PLACE_WEIGHTS)))

    def _check(self, wait_ms: float, limit_ms: float) -> None:
        if wait_ms > limit_ms:
            raise OverloadedError(
                f"the predicted wait is {wait_ms:.0f} ms; the limit is {limit_ms:.0f} ms; retry later",
                # By then the wait has fallen to half the limit, so that a repeat is let in and not refused again.
                retry_after_ms=math.ceil(wait_ms - limit_ms / 2),
            )


def place_of(flow: Flow) -> int:
    """Where the work of `flow` is counted: the same in every front end."""
    return PRIORITIES[flow.priority] * HASHES + crc32(flow.principal.encode()) % HASHES
