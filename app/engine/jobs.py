"""What is one request, and one of its texts, while the engine has it?

A `Job` is a request; a `Row` is a text that has to be run. Equal texts that are wanted at the same time are one row
with several places, and are run once. Jobs and rows are changed under the engine's lock only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from app.types import Answer, Item, ModelKey, Rows, Timing, Work

RowKey = tuple[ModelKey, bytes]  # a model version and the exact token ids or numbers: all that an output depends on


class Job:
    """One request: its rows' outputs as they come in, and how it ended. `caller` is for whoever submitted it."""

    __slots__ = ("_first_s", "_missing", "_outputs", "_run_s", "arrived_s", "caller", "outcome", "rows", "work")

    def __init__(self, work: Work, arrived_s: float, caller: object = None) -> None:
        self.work = work
        self.arrived_s = arrived_s
        self.caller = caller
        self.rows: list[Row] = []
        self.outcome: Answer | Exception | None = None  # set once
        self._outputs: dict[str, Rows] = {}
        self._missing = len(work.rows)
        self._first_s = math.inf  # when its first row began to run
        self._run_s = 0.0

    def settle(
        self, index: int, outputs: Mapping[str, Rows], row: int, *, started_s: float | None, run_s: float
    ) -> bool:
        """Take row `row` of a batch as the answer to text `index`; true when that ended the job.

        `started_s` is when that batch began to run; None for an output that was kept.
        """
        if self.outcome is not None:
            return False
        wanted = self.work.outputs or outputs
        if len(self.work.rows) == 1:
            self._outputs = {name: outputs[name][row : row + 1] for name in wanted}
        else:
            for name in wanted:
                if name not in self._outputs:
                    self._outputs[name] = np.empty((len(self.work.rows), outputs[name].shape[1]), np.float32)
                self._outputs[name][index] = outputs[name][row]
        if started_s is not None:
            self._first_s = min(self._first_s, max(started_s, self.arrived_s))  # an equal text may run already
        self._run_s = max(self._run_s, run_s)
        self._missing -= 1
        if self._missing == 0:
            queue_s = self._first_s - self.arrived_s if self._first_s < math.inf else 0.0
            self.outcome = Answer(self._outputs, Timing(queue_s, self._run_s))
        return self._missing == 0


class Place(NamedTuple):  # a tuple: several are made for every request
    """Text number `text` of a job."""

    job: Job
    text: int


@dataclass(slots=True, eq=False)
class Row:
    """One text to be run, and everybody who waits for it.

    It waits as a text of `work`, the most urgent request that wants it; `ticket` is its place in the queue, None once
    it runs.
    """

    key: RowKey
    ids: Item
    work: Work
    places: list[Place] = field(default_factory=list)
    ticket: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one model that run together."""

    model: ModelKey
    rows: Sequence[Row]
    is_alone: bool  # nothing else waits


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a batch: outputs by row for the rows that ran, and the rows that could not be run."""

    rows: Sequence[Row]
    outputs: Mapping[str, Rows]
    failed: Sequence[tuple[Row, Exception]]
    started_s: float
    run_s: float
