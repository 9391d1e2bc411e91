"""What does one reproducible run consist of?

A recipe is one TOML file with the tables of `Recipe`. Types are strict and closed: an unknown key is refused with
the nearest known one. A recipe without `[data]` imports its encoder as it is. Paths may hold `${VARIABLES}`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.bundle.manifest import Name, ScopeScore, Sha256
from training.recipe_conflicts import conflicts
from training.recipe_encoder import AnyEncoder
from training.recipe_table import Table

Schedule = Literal["linear", "cosine", "constant", "wsd"]


class Columns(Table):
    """Which column of a row is what. Classification reads `text` and `label`; embedding reads `text`, `positive` and,
    where it is named, `negative`.
    """

    text: str = "text"
    label: str = "label"
    positive: str = "positive"
    negative: str | None = None


class RowsData(Table):
    """What rows from files and from a data set have in common. Without `dev` or `test`, shares of `train` are split off
    by a hash of the text, so that a row keeps its split when others come and go.
    """

    dev: str | None = None
    test: str | None = None
    dev_share: float = Field(default=0.1, gt=0, lt=0.5)
    test_share: float = Field(default=0.1, gt=0, lt=0.5)
    columns: Columns = Columns()
    as_published: bool = False  # rows that stand there twice stay, and a text under two labels is no fault
    apart_from: list[Literal["dev", "test"]] = Field(
        default=[]
    )  # train rows that share any single text with these are left out
    one_label_only: bool = False  # rows whose label is a list of several are left out, not refused
    origin: str = ""  # who made the data and under which licence, for the model card

    @model_validator(mode="after")
    def _published_is_named(self) -> Self:
        if self.as_published and self.test is None:
            raise ValueError("`as_published` needs `test`: without it the test rows are split off from `train` here")
        return self


class FileData(RowsData):
    """Rows from CSV, TSV, JSONL or Parquet files (also .gz)."""

    source: Literal["files"]
    train: str
    sha256: dict[str, Sha256] = Field(default={})  # by file name: refuse other bytes


class DatasetData(RowsData):
    """Rows from a Hugging Face data set id, through `datasets`."""

    source: Literal["dataset"]
    id: str
    config: str | None = None
    revision: str | None = None
    train: str = "train"


class HomeIntentsData(Table):
    """Sentences sampled from the templates of the packages `home-assistant-intents` and `hassil`."""

    source: Literal["home-assistant-intents"]
    language: str = "en"
    rows: int = Field(default=4000, ge=100)  # training rows drawn round-robin over the intents
    per_template: int = Field(default=30, ge=1)
    rare_to: int = Field(default=24, ge=1)  # intents with fewer rows are repeated up to this many
    held_out: int = Field(default=5, ge=2)  # one template in this many goes to the test split
    split_seed: int = 7
    origin: str = ""


Data = Annotated[FileData | DatasetData | HomeIntentsData, Field(discriminator="source")]


LOSSES = {"embed": ("in_batch_negatives", "triplet"), "classify": ("cross_entropy", "focal")}  # the first is the usual
LOSS_KEYS = {
    "cross_entropy": {"label_smoothing", "class_weights", "contrastive_share", "temperature"},
    "focal": {"gamma", "class_weights", "contrastive_share", "temperature"},
    "in_batch_negatives": {"scale"},
    "triplet": {"margin"},
}


class EmbedTask(Table):
    """Train or import the pooled vector itself."""

    task: Literal["embed"]
    name: Name = "embedding"
    normalize: bool = True
    # Train the first so many numbers as vectors of their own (Matryoshka).
    cuts: list[Annotated[int, Field(ge=1)]] = Field(default=[])


class ScopeTable(Table):
    """Which texts fit no label: those whose score is under a threshold. A number in its place is the threshold of
    `max_probability`, the best probability.
    """

    score: ScopeScore | None = None  # None: the one that tells rows of `label` apart best on dev
    label: str | None = None  # rows of this label fit none: never trained; they choose the score, and judge it on test
    false_alarms: float = Field(default=0.05, gt=0, lt=0.5)  # the share of dev rows that the threshold turns away
    threshold: float | None = None  # instead of `false_alarms`

    @model_validator(mode="before")
    @classmethod
    def _of_a_number(cls, value: object) -> object:
        return {"score": "max_probability", "threshold": value} if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Self:
        if self.score is None and self.label is None:
            raise ValueError("`score`, or the `label` of rows to choose one by, is missing")
        if self.score is None and self.threshold is not None:
            raise ValueError("`threshold` is a number of one `score`; name it, or leave `threshold` out")
        if self.threshold is not None and "false_alarms" in self.changed():
            raise ValueError("`threshold` and `false_alarms` both say where the line is; leave one out")
        if self.score == "max_probability" and not 0 <= (self.threshold or 0) <= 1:
            raise ValueError("the threshold of a probability should be from 0 to 1")
        return self


class ClassifyTask(Table):
    """Train one linear layer over the pooled vector, and the encoder with it."""

    task: Literal["classify"]
    name: Name = "label"
    dropout: float = Field(default=0.1, ge=0, lt=1)
    out_of_scope: ScopeTable | None = None
    # Of conformal sets, fitted on dev.
    coverages: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default=[0.9, 0.95, 0.99])


HeadTable = Annotated[EmbedTask | ClassifyTask, Field(discriminator="task")]


class LossTable(Table):
    """What training makes smaller, and for which task (training/losses.py). A key of another loss is refused."""

    name: Literal["cross_entropy", "focal", "in_batch_negatives", "triplet"]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"  # balanced: rare labels weigh as much as common ones
    contrastive_share: float = Field(default=0.0, ge=0, lt=1)  # of the supervised contrastive loss over the vectors
    temperature: float = Field(default=0.1, gt=0)  # of that
    gamma: float = Field(default=2.0, gt=0)  # how little rows count that are sure
    scale: float = Field(default=20.0, gt=0)  # the cosine times this (1 / temperature)
    margin: float = Field(default=0.3, gt=0, le=2)  # in cosine

    @model_validator(mode="after")
    def _keys_are_of_this_loss(self) -> Self:
        for key in sorted(self.changed() - {"name", *LOSS_KEYS[self.name]}):
            owners = " or ".join(f'"{name}"' for name, keys in LOSS_KEYS.items() if key in keys)
            raise ValueError(f'`{key}` belongs to name = {owners}, not "{self.name}"; leave it out')
        if "temperature" in self.changed() and not self.contrastive_share:
            raise ValueError("`temperature` is of the contrastive loss, whose `contrastive_share` is 0; leave it out")
        return self


class OptimTable(Table):
    """How weights move. The rate climbs over `warmup_share` of all steps, then goes as `schedule` says."""

    name: Literal["adamw", "sgd", "adafactor", "lion", "muon"] = "adamw"  # muon: the encoder's matrices, adamw the rest
    schedule: Schedule = "linear"
    lr: float = Field(default=1e-4, gt=0)
    head_lr_scale: float = Field(default=20.0, gt=0)  # a fresh head learns faster than a pretrained encoder
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    clip_norm: float = Field(default=1.0, gt=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)  # each layer learns this much as fast as the one above it
    ema: float | None = Field(default=None, gt=0, lt=1)  # keep the moving average of the weights, such as 0.999


class BudgetTable(Table):
    """How long a run may go on. The epoch with the best dev metric is kept."""

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=32, ge=1)  # rows of one step of the optimiser
    accumulate: int = Field(default=1, ge=1)  # take each batch in so many parts: less memory, the same result
    patience: int | None = Field(default=None, ge=1)  # stop after this many epochs without a better dev metric
    checkpoint_steps: int = Field(default=200, ge=1)


class ExportTable(Table):
    """Which files the bundle has beside the fp32 graph; each only if it passes its gate."""

    int8: bool = True  # an OpenVINO pair for CPUs: two to three times the speed
    packed: bool = True  # a half-precision graph without padding for CUDA


class HardwareTable(Table):
    """Where a run computes, and in which numbers. Bundles are float32 graphs whatever is said here."""

    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: CUDA where there is a GPU
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the encoder's way forward and back; weights are float32
    compile: bool = False  # torch.compile the encoder: minutes at the start, faster steps after


class Recipe(Table):
    """One run, from data to bundle."""

    name: Name
    description: str = ""
    seed: int = Field(default=7, ge=0)
    threads: int | None = Field(default=None, ge=1)  # torch threads; None: all cores
    encoder: AnyEncoder
    head: HeadTable
    data: Data | None = None
    loss: LossTable | None = None
    optim: OptimTable = OptimTable()
    budget: BudgetTable = BudgetTable()
    hardware: HardwareTable = HardwareTable()
    export: ExportTable = ExportTable()
    baselines: bool = False  # also report tf-idf + linear and frozen encoder + logistic regression on the same rows
    probes: str | None = None  # a JSONL of {"text", "label"} beside the recipe: sentences no template yields

    @model_validator(mode="after")
    def _tables_fit_together(self) -> Self:
        if (self.data is None) != (self.loss is None):
            raise ValueError("`data` and `loss` come together: without both, the encoder is imported as it is")
        if self.data is None and self.head.task != "embed":
            raise ValueError("without `data` only an embed head can be exported")
        if self.data is None and self.encoder.kind != "pretrained":
            raise ValueError(
                f'`encoder.kind = "{self.encoder.kind}"` and a recipe without `data` disagree: its weights are fresh'
            )
        wanted = LOSSES[self.head.task]
        if self.loss is not None and self.loss.name not in wanted:
            names = " or ".join(map(repr, wanted))
            raise ValueError(f"a head for {self.head.task} trains with loss {names}, not {self.loss.name!r}")
        if self.loss is None and isinstance(self.head, EmbedTask) and self.head.cuts:
            raise ValueError("`head.cuts` are trained, and without `data` and `loss` nothing is: leave them out")
        if found := list(conflicts(self)):
            raise ValueError("; ".join(found))
        return self
