"""May a child that died be started again, and how soon?

At once, as long as deaths are rare. A child that dies as soon as it has started is started ever more slowly. And there
is a budget: a service whose children die all the time is not kept up by restarts; it ends, so that whoever runs it
learns of it and can place it elsewhere. Pure: the clock is passed in.
"""

from app.types import Clock

BUDGET = 30  # restarts that may follow one another at once
REFILL_S = 20.0  # one more is allowed this often
BACKOFF_S = (0.0, 0.2, 1.0, 5.0, 15.0)  # before the n-th restart in a row of a child that did not last
LASTING_S = 1.0  # a child that served this long has not failed at its start


class Restarts:
    """The deaths of one child."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = float(BUDGET)
        self._counted_s = clock()
        self._in_a_row = 0

    def next_s(self, served_s: float) -> float | None:
        """How long to wait before the next start of a child that served `served_s`; None when the budget is spent."""
        now_s = self._clock()
        self._left = min(BUDGET, self._left + (now_s - self._counted_s) / REFILL_S)
        self._counted_s = now_s
        if self._left < 1:
            return None
        self._left -= 1
        self._in_a_row = 0 if served_s >= LASTING_S else self._in_a_row + 1
        return BACKOFF_S[min(self._in_a_row, len(BACKOFF_S) - 1)]
