"""Which encoders have a packed graph, and where in their state dict does each weight lie?

A family is a class of transformers with its names. Every tensor is taken with the shape it must have, and a tensor that
nobody took refuses the model: a weight that is left out would only show as a slightly wrong vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from app.bundle.manifest import pooling_name
from training.export.packed.weights import EncoderWeights, Floats, Gelu, Layer, Linear, Norm, PackedError
from training.modeling.heads import ClassifierHead
from training.modeling.model import Model

GELUS: Mapping[str, Gelu] = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
HEAD_SIZES = range(8, 257, 8)  # what fused attention on CUDA takes


@dataclass(frozen=True, slots=True)
class Names:
    """Where the weights of one family lie; those of a layer are relative to it."""

    layer: str
    query: str
    key: str
    value: str
    out: str
    attention_norm: str
    up: str
    down: str
    output_norm: str


@dataclass(frozen=True, slots=True)
class Family:
    """Names, and what else sets a family apart. `counts_after_pad`: positions as RoBERTa's."""

    names: Names
    counts_after_pad: bool = False


BERT = Names(
    layer="encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    up="intermediate.dense",
    down="output.dense",
    output_norm="output.LayerNorm",
)
DISTILBERT = Names(
    layer="transformer.layer",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    out="attention.out_lin",
    attention_norm="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    output_norm="output_layer_norm",
)
MPNET = Names(
    layer="encoder.layer",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    out="attention.attn.o",
    attention_norm="attention.LayerNorm",
    up="intermediate.dense",
    down="output.dense",
    output_norm="output.LayerNorm",
)
FAMILIES: Mapping[str, Family] = {
    "BertModel": Family(BERT),
    "RobertaModel": Family(BERT, counts_after_pad=True),
    "XLMRobertaModel": Family(BERT, counts_after_pad=True),
    "DistilBertModel": Family(DISTILBERT),
    "MPNetModel": Family(MPNET, counts_after_pad=True),
}


def read_weights(model: Model, *, max_tokens: int, pad_id: int) -> EncoderWeights:
    """The model's weights as a packed graph needs them; the model stays as it is.

    Raises:
        PackedError: an architecture, an activation, a pooling or a size that the graph does not have.
    """
    trunk = model.encoder.trunk
    family = FAMILIES.get(type(trunk).__name__)
    if family is None:
        raise PackedError(f"{type(trunk).__name__} has no packed graph; {', '.join(FAMILIES)} have one")
    if (pooling := model.encoder.pooling) not in ("mean", "cls"):
        raise PackedError(f"{pooling_name(pooling)} pooling has no packed graph; mean and cls have one")
    if after := [str(module) for module in model.encoder.after_pooling]:
        raise PackedError(f"{' → '.join(after)} behind the pooling has no packed graph")
    config = trunk.config
    gelu = str(getattr(config, "activation" if family.names is DISTILBERT else "hidden_act", None))
    if gelu not in GELUS:
        raise PackedError(f"activation {gelu} has no packed graph; {', '.join(GELUS)} have one")
    if getattr(config, "is_decoder", False):
        raise PackedError(f"{type(trunk).__name__} is set up as a decoder, whose attention is not a packed graph's")
    hidden, heads = int(config.hidden_size), int(config.num_attention_heads)
    if hidden % heads or hidden // heads not in HEAD_SIZES:
        raise PackedError(f"attention heads of {hidden / heads:g}; fused attention takes multiples of 8 up to 256")
    return _read(model, family, GELUS[gelu], max_tokens=max_tokens, pad_id=pad_id)


def _read(model: Model, family: Family, gelu: Gelu, *, max_tokens: int, pad_id: int) -> EncoderWeights:
    trunk: Any = model.encoder.trunk  # transformers' classes differ in what they hold
    state = _State(trunk.state_dict())
    hidden = model.encoder.hidden
    word_VH, position_PH = (
        state.table("embeddings.word_embeddings", hidden),
        state.table("embeddings.position_embeddings", hidden),
    )
    if state.has("embeddings.token_type_embeddings.weight"):
        position_PH = position_PH + state.table("embeddings.token_type_embeddings", hidden)[0]
    layers = [
        _layer(state, family.names, number, hidden, _feed_forward(trunk.config))
        for number in range(int(trunk.config.num_hidden_layers))
    ]
    weights = EncoderWeights(
        word_VH=word_VH,
        position_PH=position_PH,
        embedding_norm=state.norm("embeddings.LayerNorm", hidden),
        layers=layers,
        heads=int(trunk.config.num_attention_heads),
        epsilon=float(getattr(trunk.config, "layer_norm_eps", 1e-12)),  # DistilBERT's is a constant of its code
        gelu=gelu,
        pooling=model.encoder.pooling,
        max_tokens=max_tokens,
        pad_id=pad_id,
        position_pad=int(trunk.embeddings.position_embeddings.padding_idx) if family.counts_after_pad else None,
        distance_NR=_distances(trunk, state, max_tokens) if family.names is MPNET else None,
        classifiers={str(name): _head(head, hidden) for name, head in model.heads.items()},
    )
    if left := state.untaken():
        raise PackedError(f"{type(trunk).__name__} has weights that a packed graph has no place for, such as {left[0]}")
    _check_positions(weights)
    return weights


class _State:
    """A state dict that knows what was taken from it."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        self._state = state
        self._taken: set[str] = set()

    def has(self, name: str) -> bool:
        return name in self._state

    def untaken(self) -> list[str]:
        return [name for name in self._state if name not in self._taken]

    def take(self, name: str, *shape: int | None) -> Floats:
        """One tensor as float32; None stands for any size."""
        if name not in self._state:
            raise PackedError(f"the encoder has no weight {name}")
        found = self._state[name].detach().to(torch.float32).cpu().numpy()
        if found.ndim != len(shape) or any(
            want not in (None, size) for want, size in zip(shape, found.shape, strict=True)
        ):
            raise PackedError(f"{name} has shape {found.shape}, not {shape}")
        self._taken.add(name)
        return np.asarray(found, np.float32)

    def table(self, name: str, hidden: int) -> Floats:
        return self.take(f"{name}.weight", None, hidden)

    def linear(self, name: str, inputs: int, outputs: int) -> Linear:
        weight = self.take(f"{name}.weight", outputs, inputs)
        return Linear(np.ascontiguousarray(weight.T), self.take(f"{name}.bias", outputs))

    def norm(self, name: str, hidden: int) -> Norm:
        return Norm(self.take(f"{name}.weight", hidden), self.take(f"{name}.bias", hidden))


def _layer(state: _State, names: Names, number: int, hidden: int, inner: int) -> Layer:
    def at(name: str) -> str:
        return f"{names.layer}.{number}.{name}"

    return Layer(
        query=state.linear(at(names.query), hidden, hidden),
        key=state.linear(at(names.key), hidden, hidden),
        value=state.linear(at(names.value), hidden, hidden),
        out=state.linear(at(names.out), hidden, hidden),
        attention_norm=state.norm(at(names.attention_norm), hidden),
        up=state.linear(at(names.up), hidden, inner),
        down=state.linear(at(names.down), inner, hidden),
        output_norm=state.norm(at(names.output_norm), hidden),
    )


def _feed_forward(config: Any) -> int:  # noqa: ANN401  # each family has a configuration class of its own
    return int(config.hidden_dim if hasattr(config, "hidden_dim") else config.intermediate_size)


def _distances(trunk: Any, state: _State, max_tokens: int) -> Floats:  # noqa: ANN401
    """MPNet's bias for every distance of key from query, by its own rule for far ones."""
    heads = int(trunk.config.num_attention_heads)
    table_RN = state.take("encoder.relative_attention_bias.weight", None, heads)
    steps = torch.arange(-(max_tokens - 1), max_tokens)
    buckets = trunk.encoder.relative_position_bucket(steps, num_buckets=len(table_RN)).numpy()
    return np.ascontiguousarray(table_RN[buckets].T)


def _head(head: nn.Module, hidden: int) -> Linear:
    if not isinstance(head, ClassifierHead):
        raise PackedError("a head that is more than one linear layer has no packed graph")
    weight = head.linear.weight.detach().to(torch.float32).cpu().numpy()
    if weight.shape[1] != hidden:
        raise PackedError(f"a head reads {weight.shape[1]} values; the encoder gives {hidden}")
    return Linear(np.ascontiguousarray(weight.T), head.linear.bias.detach().to(torch.float32).cpu().numpy())


def _check_positions(weights: EncoderWeights) -> None:
    first = 0 if weights.position_pad is None else weights.position_pad + 1
    if first + weights.max_tokens > len(weights.position_PH):
        raise PackedError(
            f"{weights.max_tokens} tokens need positions up to {first + weights.max_tokens - 1}; "
            f"the encoder has {len(weights.position_PH)}"
        )
