"""What does one reproducible run consist of?

A recipe is one TOML file with the tables of `Recipe`. Types are strict and closed: an unknown key is refused with
the nearest known one. A recipe without `[data]` imports its encoder as it is. Paths may hold `${VARIABLES}`.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from app.bundle.manifest import Name, Pooling, ScopeScore, Sha256
from training.recipe_conflicts import conflicts

Freeze = Literal["all", "embeddings"] | int
Schedule = Literal["linear", "cosine", "constant", "wsd"]

MIN_BPE = 300  # 256 bytes, 4 special tokens, and some merges


class Table(BaseModel):
    """Base of every table of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def changed(self) -> set[str]:
        """The keys whose value is not the default one: those a dumped recipe and its author agree to have set."""
        return {key for key, field in type(self).model_fields.items() if getattr(self, key) != field.default}


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
    apart_from: list[Literal["dev", "test"]] = []  # train rows that share any single text with these are left out
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
    sha256: dict[str, Sha256] = {}  # by file name: refuse other bytes


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


class EncoderTable(Table):
    """A pretrained encoder: `package:NAME` (an installed distribution), a folder, or a hub id."""

    kind: Literal["pretrained"] = Field(default="pretrained", exclude=True)  # the default says nothing in a manifest
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


class TokenizerTable(Table):
    """A tokenizer that learns its pieces from the texts of train (training/vocabulary/train.py)."""

    kind: Literal["wordpiece", "bpe", "characters"] = "wordpiece"
    size: int = Field(default=8000, ge=32)  # tokens at most, special ones included
    lowercase: bool = True

    @model_validator(mode="after")
    def _bytes_have_room(self) -> Self:
        if self.kind == "bpe" and self.size < MIN_BPE:
            raise ValueError(
                f'`size = {self.size}` and `kind = "bpe"` disagree: the 256 bytes and 4 special tokens come first; '
                f"take at least {MIN_BPE}"
            )
        return self


class RecurrentEncoder(Table):
    """A recurrent encoder with fresh weights (training/modeling/scratch/recurrent.py)."""

    kind: Literal["rnn", "lstm", "gru"]
    tokenizer: TokenizerTable = TokenizerTable()
    embedding: int = Field(default=128, ge=1)  # values of a token before the first layer
    hidden: int = Field(default=256, ge=1)  # values of a state in one direction
    layers: int = Field(default=1, ge=1)
    bidirectional: bool = True
    activation: Literal["tanh", "relu"] | None = None  # of an rnn; None: tanh
    dropout: float = Field(default=0.3, ge=0, lt=1)
    pooling: Pooling = "mean"
    max_tokens: int = Field(default=128, ge=3)

    @model_validator(mode="after")
    def _activation_is_of_rnn(self) -> Self:
        if self.kind != "rnn" and self.activation is not None:
            raise ValueError(f'`activation` and `kind = "{self.kind}"` disagree: its gates have their own')
        return self


class TransformerEncoder(Table):
    """A transformer with fresh weights (training/modeling/scratch/transformer.py)."""

    kind: Literal["transformer"]
    tokenizer: TokenizerTable = TokenizerTable()
    hidden: int = Field(default=128, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    feed_forward: int = Field(default=512, ge=1)
    positions: Literal["sinusoidal", "learned", "rotary"] = "rotary"
    norm: Literal["pre", "post"] = "pre"
    dropout: float = Field(default=0.1, ge=0, lt=1)
    pooling: Pooling = "mean"
    max_tokens: int = Field(default=128, ge=3)

    @model_validator(mode="after")
    def _heads_share_the_state(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(
                f"`hidden = {self.hidden}` and `heads = {self.heads}` disagree: the heads share a state evenly"
            )
        if self.positions == "rotary" and self.hidden // self.heads % 2:
            raise ValueError(
                f'`positions = "rotary"` and `heads = {self.heads}` disagree: it turns pairs of values, and a head has '
                f"{self.hidden // self.heads}"
            )
        return self


def _kind_of_encoder(value: object) -> str:
    """Which table `[encoder]` is: the one of a pretrained encoder where it does not say."""
    kind = value.get("kind", "pretrained") if isinstance(value, dict) else getattr(value, "kind", "pretrained")
    return "recurrent" if kind in ("rnn", "lstm", "gru") else str(kind)


AnyEncoder = Annotated[
    Annotated[EncoderTable, Tag("pretrained")]
    | Annotated[RecurrentEncoder, Tag("recurrent")]
    | Annotated[TransformerEncoder, Tag("transformer")],
    Discriminator(_kind_of_encoder),
]


class EmbedTask(Table):
    """Train or import the pooled vector itself."""

    task: Literal["embed"]
    name: Name = "embedding"
    normalize: bool = True
    cuts: list[Annotated[int, Field(ge=1)]] = []  # train the first so many numbers as vectors of their own (Matryoshka)


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
    coverages: list[Annotated[float, Field(gt=0, lt=1)]] = [0.9, 0.95, 0.99]  # of conformal sets, fitted on dev


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
