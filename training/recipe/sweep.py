"""Which settings does a sweep try?

A TOML file beside the recipe:

    trials = 20
    [values]
    "optim.lr" = { low = 1e-5, high = 5e-4, log = true }
    "budget.batch_size" = [16, 32]
"""

import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from training.recipe.table import Table

Value = bool | int | float | str


class Span(Table):
    """All numbers from `low` to `high`, both included; whole ones where both ends are."""

    low: int | float
    high: int | float
    log: bool = False  # evenly over orders of magnitude

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"`low = {self.low}` should be less than `high = {self.high}`")
        if self.log and self.low <= 0:
            raise ValueError(f"`log = true` and `low = {self.low}` disagree: only what is over 0 has a logarithm")
        return self

    def ends(self) -> tuple[Value, Value]:
        """The lowest and the highest value."""
        return self.low, self.high


class SweepTable(Table):
    """What is tried, how often, and when a trial is given up."""

    trials: int = Field(default=20, ge=1)
    seed: int = Field(default=7, ge=0)  # of what is tried; the runs have that of the recipe
    pruner: Literal["median", "hyperband", "none"] = "median"  # median: end what is behind half of the earlier trials
    values: dict[str, Span | Annotated[list[Value], Field(min_length=1)]] = Field(min_length=1)


def setting(key: str, value: object) -> str:
    """As `--set` takes it."""
    return f"{key}={json.dumps(value)}"  # JSON's numbers, strings and truth values are TOML's
