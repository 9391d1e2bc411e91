"""What do the result files say that are about neither speed under load nor faults?"""

from typing import Literal

from pydantic import Field

from benchmarks.schema.common import Corpus, Figures, Origin


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


class DataForm(Figures):
    """One form of the same rows, read and checked by a process of its own."""

    form: str
    seconds: float = Field(description="From the start of the process to its end.")
    peak_mb: float = Field(description="The most memory the process ever had, in 10^6 bytes.")


class DataNear(Figures):
    """Texts of dev and test that are nearly the same as one of train."""

    seconds: float = Field(description="The search alone, after the rows are read.")
    peak_mb: float = Field(description="Of the process, reading included.")
    texts: int = Field(description="Of dev and test.")
    planted: int
    found: int = Field(description="Those that are nearly the same by chance count, too.")


class DataChecks(Figures):
    """results/data.json: schema, exact duplicates and overlap of many rows."""

    kind: Literal["data"] = "data"
    origin: Origin
    target_s: float
    target_mb: float
    rows: int
    labels: int
    characters_mean: float = Field(description="Of a text.")
    duplicates: int = Field(description="Planted, and found in every form.")
    overlaps: int = Field(description="Planted, and found in every form.")
    forms: list[DataForm]
    near: DataNear


class EnginePythonFigures(Figures):
    """One number of open requests."""

    open: int = Field(description="Requests open at a time.")
    rows_mean: float = Field(description="Rows of a batch.")
    requests_per_s: float
    user_us: float = Field(description="User CPU time of the engine, a request: nearly all of it Python.")
    system_us: float = Field(description="System CPU time of the engine, a request: reading, writing, waking.")


class EnginePython(Figures):
    """results/engine-python.json: what the engine costs besides running the model."""

    kind: Literal["engine-python"] = "engine-python"
    origin: Origin
    target_us: float
    requests: int
    figures: list[EnginePythonFigures]


class FrontEndRound(Figures):
    """One load on one front end."""

    requests: int
    seconds: float
    cpu_s: float
    us_per_request: float


class FrontEnd(Figures):
    """results/front-end.json: what a request and a refusal cost a front end."""

    kind: Literal["front-end"] = "front-end"
    origin: Origin
    model: str
    clients: int
    words: int
    tokens_mean: float
    target_per_cpu_s: int
    target_refusal_us: int
    answers: list[FrontEndRound]
    refusals: list[FrontEndRound]
    per_cpu_s: float  # the median round's
    refusal_us: float
