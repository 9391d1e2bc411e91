"""What does a result file say?

`results/<name>.json` is one of these models, closed and strict: a figure in docs/benchmarks.md comes from a field
here, and a field without a reader has no place. Times in milliseconds or seconds as their names say.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

RESULTS = Path(__file__).parent / "results"


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
    """What one load brought: `answered` right, `wrong`, `shed` (429) and `failed` add up to `asked`."""

    mode: Literal["closed", "fixed", "poisson"]
    clients: int = Field(description="Closed loop: clients. Open loop: connections that were open.")
    offered_per_s: float | None = Field(description="Open loop: rate of the schedule.")
    asked: int
    answered: int
    wrong: int
    shed: int
    failed: int
    unsent: int = Field(description="Questions that the time limit left unasked.")
    errors: dict[str, int] = Field(description="Reasons of what is not `answered`.")
    seconds: float
    requests_per_s: float = Field(description="Answered right; one text a request, so also texts/s.")
    latency: Latency | None = Field(description="None when nothing was answered right.")
    generator_cpu_s: float
    late_p99_ms: float | None = Field(description="Open loop: how late the generator itself asked.")


class ServiceFigures(Figures):
    """What the service counted and used during one load."""

    tokens: int
    padded_tokens: int
    waste: float
    runs: int
    rows_mean: float
    queue_ms_mean: float
    cpu_s: dict[str, float] = Field(description="CPU seconds by kind of process.")


class Phase(Figures):
    """One load on the service."""

    load: LoadFigures
    service: ServiceFigures


class Round(Figures):
    """Ceiling, one client and many, one after the other. The ceiling ran the texts of `many`."""

    ceiling: CeilingFigures
    one: Phase
    many: Phase
    share_one: float
    share_many: float


class Medians(Figures):
    """Medians over the rounds."""

    ceiling_texts_per_s: float
    one_per_s: float
    many_per_s: float
    share_one: float
    share_many: float
    one_p50_ms: float
    many_p50_ms: float
    many_p99_ms: float
    many_waste: float
    many_rows_mean: float


class SingleText(Figures):
    """results/single-text.json: requests of one text each, as a share of the offline ceiling."""

    kind: Literal["single-text"] = "single-text"
    origin: Origin
    model: str
    device: str
    corpus: Corpus
    target_share: float
    many: int = Field(description="Clients of the phase `many`.")
    sweep: list[CeilingFigures]
    rounds: list[Round]
    medians: Medians
    open_loop: list[Phase]


class Start(Figures):
    """results/start.json: from exec to the first 200 of /ready, files in the page cache."""

    kind: Literal["start"] = "start"
    origin: Origin
    models: list[str]
    target_s: float
    seconds: list[float]
    median_s: float


class Simulated(Figures):
    """What one rule for forming batches makes of a closed loop, in simulation."""

    rule: Literal["first come", "like lengths"]
    clients: int
    budget_tokens: int
    join_tokens: float | None = Field(description="Padding that a row may add by joining; None: any.")
    share: float = Field(description="Of the offline ceiling under the same cost.")
    waste: float
    rows_mean: float
    p50_ms: float
    p99_ms: float


class Schedule(Figures):
    """results/schedule.json: rules for forming batches, simulated with the cost of a run on this machine."""

    kind: Literal["schedule"] = "schedule"
    origin: Origin
    model: str
    corpus: Corpus
    overhead_ms: float
    ms_per_token: float
    lanes: int
    service_budget_tokens: int = Field(description="What the service chooses at this cost.")
    service_join_tokens: float
    ceiling_texts_per_s: float
    simulated: list[Simulated]


class Trained(Figures):
    """What one bundle's own report says of its test split; fractions of 1."""

    model: str
    seed: int
    train_rows: int
    test_rows: int
    accuracy: float
    macro_f1: float
    ece_before: float = Field(description="Expected calibration error, 15 bins, at temperature 1.")
    ece_after: float
    temperature: float
    best_epoch: int
    chosen_by: str
    baselines: dict[str, float] = Field(description="Accuracy on the same rows.")
    probes: float | None = Field(description="Accuracy on the recipe's own sentences, if it has any.")


class Quality(Figures):
    """results/quality.json: how good the classifiers of the recipes are."""

    kind: Literal["quality"] = "quality"
    origin: Origin
    trained: list[Trained]


Result = SingleText | Start | Schedule | Quality


def write(result: Result, folder: Path = RESULTS) -> Path:
    """Write one result file, named after its kind; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.kind}.json"
    path.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path
