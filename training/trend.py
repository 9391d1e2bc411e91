"""Has a run diverged?

The rule: the loss of a step is high when it is over five times the best mean of 20 steps on end among the last 100
steps that were not high, and over half the mean of the run's first 20 steps. A run has diverged when 20 steps on end
are high. A single bad batch is none of that, nor is the noise of a loss that is almost 0: hence the means and the half.
"""

from dataclasses import dataclass, field

ON_END = 20
SPAN = 100
TIMES = 5.0


@dataclass(frozen=True, slots=True)
class Trend:
    """What the rule needs of the steps so far; pure values, kept in the checkpoint."""

    losses: list[float] = field(default_factory=list)  # the last SPAN that were not high
    first: float | None = None  # the mean loss of the first ON_END steps
    high: int = 0  # steps on end, up to now

    def after(self, loss: float) -> "Trend":
        """The trend one step later."""
        limit = self.limit()
        if limit is not None and loss > limit:
            return Trend(self.losses, self.first, self.high + 1)
        losses = [*self.losses, loss][-SPAN:]
        first = sum(losses) / ON_END if self.first is None and len(losses) == ON_END else self.first
        return Trend(losses, first)

    def limit(self) -> float | None:
        """A loss over it is high; None before there are enough steps to tell."""
        if self.first is None:
            return None
        sums = (sum(self.losses[start : start + ON_END]) for start in range(len(self.losses) - ON_END + 1))
        return max(TIMES * min(sums) / ON_END, self.first / 2)

    @property
    def has_diverged(self) -> bool:
        """Whether the run should end."""
        return self.high >= ON_END
