"""What does one reproducible run consist of?

A recipe is one TOML file with the tables of `Recipe`. Types are strict and closed: an unknown key is refused with
the nearest known one. A recipe without `[data]` imports its encoder as it is. Paths may hold `${VARIABLES}`.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from app.bundle.manifest import Name, Pooling, Sha256

MIN_BPE = 300  # 256 bytes, 4 special tokens, and some merges


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

    kind: Literal["pretrained"] = Field(default="pretrained", exclude=True)  # the default says nothing in a manifest
    source: str
    sha256: Sha256 | None = None  # of model.safetensors: refuse other weights
    revision: str | None = None  # hub ids only
    pooling: Pooling | None = None  # None: what the source's 1_Pooling/config.json says, else mean
    max_tokens: int | None = Field(default=None, ge=3)  # None: what the source says


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
    """AdamW with linear warm-up and decay."""

    lr: float = Field(default=1e-4, gt=0)
    head_lr_scale: float = Field(default=20.0, gt=0)  # a fresh head learns faster than a pretrained encoder
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    clip_norm: float = Field(default=1.0, gt=0)


class BudgetTable(Table):
    """How long a run may go on. The epoch with the best dev metric is kept."""

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=32, ge=1)
    patience: int | None = Field(default=None, ge=1)  # stop after this many epochs without a better dev metric
    checkpoint_steps: int = Field(default=200, ge=1)


class ExportTable(Table):
    """Which files the bundle has beside the fp32 graph; each only if it passes its gate."""

    int8: bool = True  # an OpenVINO pair for CPUs: two to three times the speed
    packed: bool = True  # a half-precision graph without padding for CUDA


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
        wanted = {"embed": "in_batch_negatives", "classify": "cross_entropy"}[self.head.task]
        if self.loss is not None and self.loss.name != wanted:
            raise ValueError(f"a head for {self.head.task} trains with loss {wanted!r}, not {self.loss.name!r}")
        return self
