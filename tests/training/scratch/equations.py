"""The equations as the books write them: one text, one token, one head at a time, in float64. Nothing here trains.

T tokens, I values in, H values of a state, D of all; `w` holds the weights of a module by name.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

Doubles = NDArray[np.float64]
Weights = Mapping[str, Doubles]


def weights_of(module: nn.Module) -> dict[str, Doubles]:
    return {name: tensor.detach().numpy().astype(np.float64) for name, tensor in module.state_dict().items()}


def part(w: Weights, prefix: str) -> dict[str, Doubles]:
    return {name.removeprefix(prefix): value for name, value in w.items() if name.startswith(prefix)}


def sigmoid(x: Doubles) -> Doubles:
    return 1 / (1 + np.exp(-x))


def rnn(x_TI: Doubles, w: Weights, activation: str = "tanh") -> Doubles:
    """h_t = act(W x_t + b + U h_{t-1} + c): Elman 1990."""
    h = np.zeros(w["weight_hh_l0"].shape[1])
    states = []
    for x in x_TI:
        total = w["weight_ih_l0"] @ x + w["bias_ih_l0"] + w["weight_hh_l0"] @ h + w["bias_hh_l0"]
        h = np.tanh(total) if activation == "tanh" else np.maximum(total, 0)
        states.append(h)
    return np.array(states)


def lstm(x_TI: Doubles, w: Weights) -> Doubles:
    """Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000."""
    h = s = np.zeros(w["weight_hh_l0"].shape[1])
    states = []
    for x in x_TI:
        total = w["weight_ih_l0"] @ x + w["bias_ih_l0"] + w["weight_hh_l0"] @ h + w["bias_hh_l0"]
        i, f, g, o = np.split(total, 4)
        s = sigmoid(f) * s + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(s)
        states.append(h)
    return np.array(states)


def gru(x_TI: Doubles, w: Weights) -> Doubles:
    """Cho et al. 2014, the reset gate behind the product."""
    h = np.zeros(w["weight_hh_l0"].shape[1])
    states = []
    for x in x_TI:
        r_x, z_x, n_x = np.split(w["weight_ih_l0"] @ x + w["bias_ih_l0"], 3)
        r_h, z_h, n_h = np.split(w["weight_hh_l0"] @ h + w["bias_hh_l0"], 3)
        r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
        n = np.tanh(n_x + r * n_h)
        h = (1 - z) * n + z * h
        states.append(h)
    return np.array(states)


def softmax(x: Doubles) -> Doubles:
    powers = np.exp(x - x.max())
    return np.asarray(powers / powers.sum(), np.float64)


def attention(query_TK: Doubles, key_TK: Doubles, value_TK: Doubles) -> Doubles:
    """softmax(QKᵀ / √K) V: Vaswani et al. 2017, equation 1."""
    size = query_TK.shape[1]
    return np.array([softmax(key_TK @ query / math.sqrt(size)) @ value_TK for query in query_TK])


def linear(x_TI: Doubles, w: Weights, name: str) -> Doubles:
    return np.asarray(x_TI @ w[f"{name}.weight"].T + w[f"{name}.bias"], np.float64)


def layer_norm(x_TD: Doubles, w: Weights, name: str) -> Doubles:
    """Ba et al. 2016, arXiv:1607.06450."""
    mean, variance = x_TD.mean(axis=1, keepdims=True), x_TD.var(axis=1, keepdims=True)
    return np.asarray((x_TD - mean) / np.sqrt(variance + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"], np.float64)


def sinusoid(t: int, d: int, width: int) -> float:
    """Vaswani et al. 2017, section 3.5."""
    angle = t / 10000 ** (2 * (d // 2) / width)
    return math.sin(angle) if d % 2 == 0 else math.cos(angle)


def rotate(x_TK: Doubles) -> Doubles:
    """R_t x_t with the block-diagonal matrix of Su et al. 2021, equation 15."""
    size = x_TK.shape[1]
    turned = []
    for t, x in enumerate(x_TK):
        matrix = np.zeros((size, size))
        for i in range(size // 2):
            angle = t * 10000 ** (-2 * i / size)
            rows = slice(2 * i, 2 * i + 2)
            matrix[rows, rows] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        turned.append(matrix @ x)
    return np.array(turned)


def self_attention(x_TD: Doubles, w: Weights, heads: int, *, is_rotary: bool) -> Doubles:
    """Multi-head attention: section 3.2.2."""
    size = x_TD.shape[1] // heads
    found = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        query, key, value = (linear(x_TD, w, name)[:, own] for name in ("query", "key", "value"))
        if is_rotary:
            query, key = rotate(query), rotate(key)
        found.append(attention(query, key, value))
    return linear(np.concatenate(found, axis=1), w, "out")


def feed_forward(x_TD: Doubles, w: Weights) -> Doubles:
    return linear(np.maximum(linear(x_TD, w, "up"), 0), w, "down")


def standardised(x_TF: Doubles, mean_F: Doubles, std_F: Doubles) -> Doubles:
    """LeCun et al. 1998, section 4.3."""
    return np.asarray((x_TF - mean_F) / std_F, np.float64)


def mlp(x_TF: Doubles, w: Weights, layers: int) -> Doubles:
    """h_k = max(0, W_k h_{k-1} + b_k) for each row: Rumelhart et al. 1986, Glorot et al. 2011."""
    h = x_TF
    for number in range(layers):
        h = np.maximum(linear(h, w, f"layers.{number}"), 0)
    return h


def transformer(x_TD: Doubles, w: Weights, *, layers: int, heads: int, positions: str, norm: str) -> Doubles:
    """The states [T, D] of one text, of what it is embedded as."""
    tokens, width = x_TD.shape
    if positions == "learned":
        x_TD = x_TD + w["position_embedding.weight"][:tokens]
    elif positions == "sinusoidal":
        x_TD = x_TD + np.array([[sinusoid(t, d, width) for d in range(width)] for t in range(tokens)])
    for number in range(layers):
        own = part(w, f"layers.{number}.")
        attend = part(own, "attention.")
        is_rotary = positions == "rotary"
        if norm == "pre":
            x_TD = x_TD + self_attention(layer_norm(x_TD, own, "attention_norm"), attend, heads, is_rotary=is_rotary)
            x_TD = x_TD + feed_forward(layer_norm(x_TD, own, "feed_forward_norm"), own)
        else:
            x_TD = layer_norm(x_TD + self_attention(x_TD, attend, heads, is_rotary=is_rotary), own, "attention_norm")
            x_TD = layer_norm(x_TD + feed_forward(x_TD, own), own, "feed_forward_norm")
    return layer_norm(x_TD, w, "last_norm") if norm == "pre" else x_TD
