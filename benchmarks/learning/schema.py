"""What does results/learning-GOAL.json say?

Figures of one goal: every run with its seed, and means over seeds. Shares from 0 to 1, no texts.
"""

from typing import Literal

from pydantic import Field

from benchmarks.schema import Figures, Origin

Interval = tuple[float, float]


class Value(Figures):
    """One figure of one run."""

    value: float
    interval: Interval | None = Field(description="95 %, over test rows; None where training makes none of it.")


class Run(Figures):
    """One recipe trained with one seed, judged once on its test split."""

    training: str
    seed: int
    digest: str = Field(description="sha256 of the recipe and what was set beside it.")
    origin: Origin
    rows: dict[str, int]
    best_epoch: int = Field(description="Chosen on dev.")
    seconds: float = Field(description="Of the last process: reading, training, judging, export.")
    processes: int = Field(description="More than one: it was stopped and resumed.")
    figures: dict[str, Value]


class Reached(Figures):
    """A wanted figure, mean over seeds."""

    figure: str
    training: str
    seeds: int
    mean: float
    interval: Interval | None = Field(description="95 %: over seeds by Student's t; of one seed over test rows.")


class Paired(Figures):
    """B minus A in accuracy; what a row is worth is its mean over the seeds."""

    a: str
    b: str
    seeds: int
    rows: int
    by: float
    interval: Interval = Field(description="95 %, bootstrap over rows.")
    p: float = Field(description="Sign-flip permutation test over rows, two-sided.")


class Coverage(Figures):
    """How often conformal sets hold the right label, over re-splits of dev and test into as many rows each."""

    training: str
    seed: int
    wanted: float
    splits: int
    fitted_on: int
    judged_on: int
    expected: float = Field(description="⌈(n + 1) · wanted⌉ / (n + 1): what n rows can promise.")
    held: float = Field(description="Sets by the limit alone; mean over re-splits.")
    served: float = Field(description="With the best label always in, as answers are made.")
    labels: float = Field(description="Of a served set, on average.")
    two_errors: float = Field(description="Two standard errors of that mean, by the beta-binomial law.")


class Learning(Figures):
    """results/learning-GOAL.json."""

    kind: Literal["learning"] = "learning"
    goal: str
    origin: Origin
    runs: list[Run]
    reached: list[Reached]
    paired: Paired | None = None
    coverage: list[Coverage] = Field(default=[])
