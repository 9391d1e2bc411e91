"""What do the result files of faults and overload say?

Every file holds the planted fault that its check must catch.
"""

from statistics import median
from typing import Literal

from pydantic import Field

from benchmarks.schema.common import Control, Figures, LoadFigures, Origin


class Chaos(Figures):
    """What all of them have."""

    origin: Origin
    control: Control


class Overloaded(Figures):
    """One engine at a multiple of what it can do."""

    engine: Literal["real", "fixed"]
    times: float = Field(description="Offered, of the peak.")
    peak_per_s: float = Field(description="The highest rate of closed loops just before.")
    limit_ms: float = Field(description="ENCODERY_ADMISSION__MAX_WAIT_MS.")
    load: LoadFigures
    counts_agree: bool = Field(description="The service's own counts of 200 and of refusals are those of the ledger.")

    @property
    def goodput_share(self) -> float:
        """Right answers a second, of the peak."""
        return self.load.requests_per_s / self.peak_per_s


class Overload(Chaos):
    """results/overload.json."""

    kind: Literal["overload"] = "overload"
    parts: list[Overloaded]


class Kill(Figures):
    """One `kill -9` of the engine; seconds from the signal. None: never seen."""

    at_s: float
    unready_s: float | None
    ready_s: float | None


class Kills(Chaos):
    """results/kills.json."""

    kind: Literal["kills"] = "kills"
    model: str
    rate_per_s: float
    kills: list[Kill]
    load: LoadFigures
    counts_agree: bool


class Term(Figures):
    """One SIGTERM of a service under load, by the client's ledger."""

    sent_before: int = Field(description="Requests whose last byte was written before the signal, not yet answered.")
    unanswered: int = Field(description="Of these, the ones without the right answer.")
    wrong: int
    exit_code: int
    exit_s: float


class Terms(Chaos):
    """results/terms.json."""

    kind: Literal["terms"] = "terms"
    model: str
    clients: int
    terms: list[Term]


class Poison(Chaos):
    """results/poison.json: batches with one text that the model cannot run."""

    kind: Literal["poison"] = "poison"
    model: str
    rounds: int
    others: int = Field(description="Requests that shared the house with a poisoned one.")
    others_right: int
    poisoned_failed: int = Field(description="Poisoned requests that got an error of their own.")
    outcomes: dict[str, int] = Field(description="Of the poisoned requests.")
    rows_max: int = Field(description="Upper bound of the fullest bucket of rows a run that was seen.")


class Sample(Figures):
    """Memory of all processes after so many requests."""

    requests: int
    mib: float


class Footprint(Figures):
    """One model under a long closed loop."""

    model: str
    requests: int = Field(description="Asked after the warm-up.")
    warm_up: int
    not_right: int
    samples: list[Sample]
    growth: float = Field(description="Last tenth against the first, as a share.")
    slope: float = Field(description="Second half: growth over as many requests, as a share.")
    slope_low: float = Field(description="Lower end of its 95 % interval.")
    has_slope: bool


class Memory(Chaos):
    """results/memory.json."""

    kind: Literal["memory"] = "memory"
    parts: list[Footprint]


class Beside(Figures):
    """The polite client's load, and what the greedy client got meanwhile."""

    greedy_open: int = Field(description="Requests that the greedy client keeps open; 0: there is none.")
    polite: LoadFigures
    greedy: LoadFigures | None

    @property
    def p99_ms(self) -> float:
        """The polite client's."""
        return self.polite.latency.p99_ms if self.polite.latency else float("inf")

    @property
    def asked(self) -> int:
        """By both clients."""
        return self.polite.asked + (self.greedy.asked if self.greedy else 0)

    @property
    def not_right(self) -> int:
        """Requests of either client with another end than the right answer."""
        return self.polite.not_right + (self.greedy.not_right if self.greedy else 0)


class FairRound(Figures):
    """The polite client with three kinds of neighbour, one after the other."""

    alone: Beside
    few: Beside
    many: Beside

    @property
    def over_idle(self) -> float:
        """p99 beside many, of p99 alone."""
        return self.many.p99_ms / self.alone.p99_ms

    @property
    def over_busy(self) -> float:
        """p99 beside many, of p99 beside few: what the queue adds, and not the engine that is at work."""
        return self.many.p99_ms / self.few.p99_ms


class Fair(Chaos):
    """results/fair.json: a polite client beside a greedy one."""

    kind: Literal["fair"] = "fair"
    model: str
    peak_per_s: float = Field(description="The highest rate of closed loops just before.")
    rate_per_s: float = Field(description="Of the polite client.")
    limit_ms: float = Field(description="ENCODERY_ADMISSION__MAX_WAIT_MS: so high that nobody is refused.")
    rounds: list[FairRound]
    shared: Beside = Field(description="The control: both clients at one address.")

    @property
    def over_idle(self) -> float:
        """The median of the rounds."""
        return median(each.over_idle for each in self.rounds)

    @property
    def over_busy(self) -> float:
        """The median of the rounds."""
        return median(each.over_busy for each in self.rounds)

    @property
    def loads(self) -> list[Beside]:
        """Every load, the control included."""
        return [load for each in self.rounds for load in (each.alone, each.few, each.many)] + [self.shared]

    @property
    def asked(self) -> int:
        """By both clients, in every load."""
        return sum(load.asked for load in self.loads)

    @property
    def not_right(self) -> int:
        """Requests with another end than the right answer, in every load."""
        return sum(load.not_right for load in self.loads)
