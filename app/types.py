"""What are the nouns that pass between the parts of the service?

Values only, no behaviour. Shapes: B rows of a batch, T tokens or vectors of a row, F values of a vector, D values of
one output row.
Times are seconds of `time.monotonic()`, which all processes of one machine share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]  # [T] token ids of one row, special tokens included
Vectors = NDArray[np.float32]  # [T, F] of one row that is numbers; T is 1 where it is one vector
Item = Ids | Vectors  # one row as a graph reads it; its length is what it counts for
Rows = NDArray[np.float32]  # [B, D] one output, a row per text


class Clock(Protocol):
    """Seconds that only grow. `time.monotonic` in the service, a fake in tests."""

    def __call__(self) -> float:
        """Now."""
        ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text, or row of vectors, as the model takes it. `tokens` counts `ids`; `truncated` says that it was cut."""

    ids: Item
    truncated: bool

    @property
    def tokens(self) -> int:
        """How many tokens, or vectors, the model reads."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, order=True)
class ModelKey:
    """One version of one model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


Priority = Literal["interactive", "bulk"]


class Flow(NamedTuple):
    """Who waits, and how urgently: what the scheduler is fair between."""

    principal: str  # the caller's address; an API key's name once there are keys
    priority: Priority


ANYONE = Flow("", "interactive")


@dataclass(frozen=True, slots=True)
class Work:
    """What an engine is asked: the rows of one request, to be answered before `deadline_s`.

    `outputs` are the graph outputs that are wanted; none named means all of them.
    """

    model: ModelKey
    rows: Sequence[Item]
    deadline_s: float
    flow: Flow = ANYONE
    outputs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a request went inside the engine: waiting, and in the runs that held its rows."""

    queue_s: float
    run_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine returns: each graph output by name, row i for text i, and the timing."""

    outputs: Mapping[str, Rows]
    timing: Timing


@dataclass(frozen=True, slots=True)
class Cost:
    """The measured price of a run, over `lanes` runs side by side (app/batching/cost.py).

    A run of B rows padded to T tokens costs `overhead_ms + B*T * ms_per_token + B*T*T * ms_per_pair`, where T is
    rounded up to a multiple of `pad_to`.
    """

    overhead_ms: float
    ms_per_token: float
    lanes: int
    ms_per_pair: float = 0.0  # attention: every token meets every token of its row
    pad_to: int = 1


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """How one execution plan did on this machine.

    `ms` are milliseconds of one thread for a run, by shape ("4x32": 4 rows of 32 tokens); empty, and `texts_per_s`
    (of one lane, 4 rows of 32 tokens) 0, where the plan was not timed. `verdict` says why it serves or does not.
    """

    name: str
    verdict: str
    texts_per_s: float = 0.0
    ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanStatus:
    """The execution plan that serves a model, why, and how every candidate did (adr/0006)."""

    name: str
    reason: str
    figures: Sequence[PlanFigures] = field(default=())


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One loaded model as its engine reports it."""

    key: ModelKey
    device: str
    precision: str
    cost: Cost
    plan: PlanStatus | None = None  # None: a runner that nobody had to choose


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What a front end knows of its engine. `is_ready` means: connected, warm, and a forward pass in the last 10 s."""

    is_ready: bool
    models: Sequence[ModelStatus] = field(default=())
    oldest_batch_s: float = 0.0  # how long the batch has run that runs longest; an engine that hangs shows here
    refusal: str | None = None  # why no engine comes up, where that is known


class Engine(Protocol):
    """The seam between front end and engine: in the same process or behind a socket."""

    def status(self) -> EngineStatus:
        """The engine's state as of its last heartbeat."""
        ...

    async def submit(self, work: Work) -> Answer:
        """Answer every row of `work`.

        Raises:
            DeadlineExceededError: the deadline passed while rows waited; they never run. Callers keep a clock of
                their own: an engine that is gone says nothing.
            EngineFailedError: a row could not be run (`index` names it), or the engine died twice holding it.
        Cancelling the caller drops the rows that have not run.
        """
        ...


class Runner(Protocol):
    """The seam between a batch and a runtime: one model version on one device."""

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        """Run one batch: each output by name as float32 [B, D], row i for `rows[i]`. Called from several threads."""
        ...
