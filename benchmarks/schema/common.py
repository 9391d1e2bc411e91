"""What do all result files share?

Closed and strict: a figure in docs/benchmarks.md comes from a field, and a field without a reader has no place. Times
in milliseconds or seconds as their names say.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Figures(BaseModel):
    """Base of everything in a result file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(Figures):
    """Where it was measured."""

    cpu: str
    cores: int
    memory_gib: float
    system: str


class Origin(Figures):
    """What was measured, how and when."""

    machine: Machine
    versions: dict[str, str]
    commit: str
    dirty: bool = Field(description="Tracked files other than results and their document differ from the commit.")
    command: str
    date: str
    settings: dict[str, str] = Field(description="ENCODERY_ variables that were set.")


class Corpus(Figures):
    """The texts of one run, all different, and their lengths in tokens of the model."""

    texts: int
    sha256: str
    tokens_mean: float
    tokens_p50: int
    tokens_p90: int
    tokens_p99: int
    tokens_max: int


class Plan(Figures):
    """One way to run a corpus offline: `lanes` runs side by side, each on `threads` threads, `batch` rows a run."""

    batch: int
    lanes: int
    threads: int


class CeilingFigures(Figures):
    """One offline run over a list of texts, tokenising included."""

    plan: Plan
    texts_per_s: float
    cpu_ms_per_text: float
    waste: float = Field(description="Share of the padded tokens that is padding.")


class Latency(Figures):
    """Of the requests that were answered right."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class LoadFigures(Figures):
    """What one load brought. What was asked is exactly the sum of the outcomes, from `answered` to `lost`."""

    mode: Literal["closed", "fixed", "poisson"]
    clients: int = Field(description="Closed loop: clients. Open loop: connections at the start.")
    offered_per_s: float | None = Field(description="Open loop: requests a second of the schedule.")
    texts_a_request: int = 1
    format: Literal["json", "base64", "bytes"] = "json"
    asked: int
    answered: int = Field(description="Right.")
    wrong: int
    shed: int = Field(description="429, or 503 with Retry-After.")
    refused: int = Field(description="Another 4xx.")
    expired: int = Field(description="504.")
    failed: int = Field(description="Any other status.")
    reset: int = Field(description="The connection was closed or refused.")
    lost: int = Field(description="No answer within the deadline and two seconds.")
    unsent: int = Field(description="Requests that the limits left unasked.")
    duplicates: int = Field(description="Answers that nobody had asked for.")
    shed_without_retry_after: int
    errors: dict[str, int] = Field(description="Reasons of what is not `answered`.")
    seconds: float
    requests_per_s: float = Field(description="Answered right.")
    texts_per_s: float
    latency: Latency | None = Field(description="None when nothing was answered right.")
    shed_latency: Latency | None = Field(description="Of the refusals under load.")
    generator_cpu_s: float
    late_p99_ms: float | None = Field(description="Open loop: how late the generator itself asked.")

    @property
    def not_right(self) -> int:
        """Requests that were asked and got another end than the right answer."""
        return self.asked - self.answered


class ServiceFigures(Figures):
    """What the service counted and used during one load."""

    tokens: int
    padded_tokens: int
    waste: float
    runs: int
    rows_mean: float
    queue_ms_mean: float
    cpu_s: dict[str, float] = Field(description="CPU seconds by kind of process.")


class Control(Figures):
    """A planted fault that the check beside it must catch; a check that misses it proves nothing."""

    planted: str
    found: str
    caught: bool
