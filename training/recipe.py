"""What does one reproducible run consist of?

A recipe is one TOML file with the tables of `Recipe`. Types are strict and closed: an unknown key is refused with
the nearest known one. A recipe without `[data]` imports its encoder as it is. Paths may hold `${VARIABLES}`.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.bundle.manifest import Name, Pooling, Sha256
from training.recipe_conflicts import conflicts

Freeze = Literal["all", "embeddings"] | int
Schedule = Literal["linear", "cosine", "constant", "wsd"]


class Table(BaseModel):
    """Base of every table of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Columns(Table):
    """Which column of a row is what. Classification reads `text` and `label`; embedding reads `text`, `positive` and,
    where it is named, `negative`.
    """

    text: str = "text"
    label: str = "label"
    positive: str = "positive"
    negative: str | None = None


class FileData(Table):
    """Rows from CSV, TSV, JSONL or Parquet files (also .gz). Without `dev` or `test`, shares of `train` are split off
    by a hash of the text, so that a row keeps its split when others come and go.
    """

    source: Literal["files"]
    train: str
    dev: str | None = None
    test: str | None = None
    dev_share: float = Field(default=0.1, gt=0, lt=0.5)
    test_share: float = Field(default=0.1, gt=0, lt=0.5)
    columns: Columns = Columns()
    sha256: dict[str, Sha256] = {}  # by file name: refuse other bytes
    origin: str = ""  # who made the data and under which licence, for the model card


class DatasetData(Table):
    """Rows from a Hugging Face data set id, through `datasets`."""

    source: Literal["dataset"]
    id: str
    config: str | None = None
    revision: str | None = None
    train: str = "train"
    dev: str | None = None
    test: str | None = None
    dev_share: float = Field(default=0.1, gt=0, lt=0.5)
    test_share: float = Field(default=0.1, gt=0, lt=0.5)
    columns: Columns = Columns()
    origin: str = ""


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


class EncoderTable(Table):
    """A pretrained encoder: `package:NAME` (an installed distribution), a folder, or a hub id."""

    source: str
    sha256: Sha256 | None = None  # of model.safetensors: refuse other weights
    revision: str | None = None  # hub ids only
    pooling: Pooling | None = None  # None: what the source's 1_Pooling/config.json says, else mean
    max_tokens: int | None = Field(default=None, ge=3)  # None: what the source says
    freeze: Freeze | None = None  # what does not train; a number: the embeddings and the lowest so many layers
    checkpointing: bool = False  # keep less for the way back and compute it again: less memory, a third more time

    @field_validator("freeze", mode="before")
    @classmethod
    def _is_a_part(cls, value: object) -> object:
        if value in (None, "all", "embeddings") or (
            isinstance(value, int) and not isinstance(value, bool) and value >= 1
        ):
            return value
        raise ValueError('should be "all", "embeddings" or a number of layers from 1 on')


class EmbedTask(Table):
    """Train or import the pooled vector itself."""

    task: Literal["embed"]
    name: Name = "embedding"
    normalize: bool = True


class ClassifyTask(Table):
    """Train one linear layer over the pooled vector, and the encoder with it."""

    task: Literal["classify"]
    name: Name = "label"
    dropout: float = Field(default=0.1, ge=0, lt=1)
    out_of_scope: float | None = Field(default=None, ge=0, le=1)  # best probability under which a text fits no label


HeadTable = Annotated[EmbedTask | ClassifyTask, Field(discriminator="task")]


class LossTable(Table):
    """`cross_entropy` for classification, `in_batch_negatives` (InfoNCE, arXiv:1807.03748) for embedding."""

    name: Literal["cross_entropy", "in_batch_negatives"]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)  # cross_entropy
    scale: float = Field(default=20.0, gt=0)  # in_batch_negatives: cosine times this (1 / temperature)


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
    encoder: EncoderTable
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
        wanted = {"embed": "in_batch_negatives", "classify": "cross_entropy"}[self.head.task]
        if self.loss is not None and self.loss.name != wanted:
            raise ValueError(f"a head for {self.head.task} trains with loss {wanted!r}, not {self.loss.name!r}")
        if found := list(conflicts(self)):
            raise ValueError("; ".join(found))
        return self
