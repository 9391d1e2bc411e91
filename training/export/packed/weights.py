"""What does a packed graph need of an encoder, by one set of names for every family?

Plain numpy, float32: no torch here, so that a benchmark can draw an encoder of any size. Linear weights are [in, out].
H hidden size, F size between the two layers of a feed-forward block, V vocabulary, P positions, N heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.bundle.manifest import Pooling
from training.errors import TrainingError

Floats = NDArray[np.float32]
Gelu = Literal["erf", "tanh"]


class PackedError(TrainingError):
    """This model has no packed graph; the message says what stands in the way."""


@dataclass(frozen=True, slots=True)
class Linear:
    """x @ weight + bias."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation over H: scale and shift."""

    gamma: Floats
    beta: Floats


@dataclass(frozen=True, slots=True)
class Layer:
    """One block: attention, norm, feed-forward, norm; each norm after its residual."""

    query: Linear
    key: Linear
    value: Linear
    out: Linear
    attention_norm: Norm
    up: Linear
    down: Linear
    output_norm: Norm


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """An encoder of BERT's shape with its pooling and heads.

    `position_PH` has the row of token type 0 added, where there are token types. `distance_NR`: what attention adds to
    its logits for a distance of -(max_tokens - 1) … max_tokens - 1. `classifiers` by output name.
    """

    word_VH: Floats
    position_PH: Floats
    embedding_norm: Norm
    layers: Sequence[Layer]
    heads: int
    epsilon: float
    gelu: Gelu
    pooling: Pooling
    max_tokens: int
    pad_id: int
    position_pad: int | None = None
    distance_NR: Floats | None = None
    classifiers: Mapping[str, Linear] = field(default_factory=dict)

    @property
    def hidden(self) -> int:
        """H."""
        return int(self.word_VH.shape[1])


def draw(
    *, layers: int, hidden: int, heads: int, vocabulary: int = 30522, max_tokens: int = 512, pooling: Pooling = "mean"
) -> EncoderWeights:
    """An encoder of a size, with random weights: speed does not depend on their values."""
    generator = np.random.default_rng(layers * hidden)

    def linear(inputs: int, outputs: int) -> Linear:
        return Linear(_normal(generator, inputs, outputs), np.zeros(outputs, np.float32))

    def norm() -> Norm:
        return Norm(np.ones(hidden, np.float32), np.zeros(hidden, np.float32))

    def layer() -> Layer:
        query, key, value, out = (linear(hidden, hidden) for _ in range(4))
        up, down = linear(hidden, 4 * hidden), linear(4 * hidden, hidden)
        return Layer(query, key, value, out, norm(), up, down, norm())

    return EncoderWeights(
        word_VH=_normal(generator, vocabulary, hidden),
        position_PH=_normal(generator, max_tokens, hidden),
        embedding_norm=norm(),
        layers=[layer() for _ in range(layers)],
        heads=heads,
        epsilon=1e-12,
        gelu="erf",
        pooling=pooling,
        max_tokens=max_tokens,
        pad_id=0,
    )


def _normal(generator: np.random.Generator, rows: int, columns: int) -> Floats:
    """Variance 2 / (rows + columns), which keeps the size of what goes through (Glorot and Bengio 2010, eq. 16)."""
    spread = np.float32(np.sqrt(2 / (rows + columns)))
    return generator.standard_normal((rows, columns), np.float32) * spread
