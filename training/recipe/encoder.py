"""Which encoder does a recipe begin with: a pretrained one, or one with fresh weights?"""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from app.bundle.manifest import Pooling, Sha256
from training.recipe.table import Table

Freeze = Literal["all", "embeddings"] | int

MIN_BPE = 300  # 256 bytes, 4 special tokens, and some merges


class LoraTable(Table):
    """Train two thin matrices beside linear layers and not the layers themselves (training/modeling/adapters.py)."""

    rank: int = Field(default=16, ge=1)  # columns of a thin matrix
    alpha: float = Field(default=32.0, gt=0)  # what they give counts alpha / rank times
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: list[str] | None = Field(default=None, min_length=1)  # ends of names, such as "query"; None: all linear


class EncoderTable(Table):
    """A pretrained encoder: `package:NAME` (an installed distribution), a folder, or a hub id."""

    kind: Literal["pretrained"] = Field(default="pretrained", exclude=True)  # the default says nothing in a manifest
    source: str
    sha256: Sha256 | None = None  # of model.safetensors: refuse other weights
    revision: str | None = None  # hub ids only
    pooling: Pooling | None = None  # None: what the source's 1_Pooling/config.json says, else mean
    max_tokens: int | None = Field(default=None, ge=3)  # None: what the source says
    freeze: Freeze | None = None  # what does not train; a number: the embeddings and the lowest so many layers
    lora: LoraTable | None = None  # None: all weights train, but for what is frozen
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
