"""What do the operators of a packed graph compute?

Reference implementations for onnx's ReferenceEvaluator, from ONNX Runtime's operator schemas, so that a packed graph is
known to be right before a GPU sees it. Products and sums are float32, results have the precision of the inputs: on a
half-precision graph this is what CUDA's kernels do (tensor cores accumulate in float32; FlashAttention rounds the
exponentials before their product with the values and divides afterwards, arXiv:2205.14135). Watchers hear every value
before it is rounded.

T tokens, B sequences, S longest length, N heads, D size of a head, L length of one sequence.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun
from scipy.special import erf

from app.bundle.packed import CONTRIB

Array = NDArray[np.floating]
Floats = NDArray[np.float32]
Watch = Callable[[str, Floats], None]

SQRT_HALF = np.float32(np.sqrt(0.5))


class _Operator(OpRun):
    """One operator in float32 with a result in the precision of what came in."""

    op_domain = CONTRIB
    watchers: ClassVar[tuple[Watch, ...]] = ()

    def _as(self, values: Floats, like: Array) -> Array:
        self._show(values)
        return values.astype(like.dtype)

    def _show(self, values: Floats, what: str = "") -> None:
        for watch in self.watchers:
            watch(self.onnx_node.output[0] + what, values)


class MatMul(_Operator):
    """numpy's product of half-precision arrays is a thousand times slower than this."""

    op_domain = ""

    def _run(self, a: Array, b: Array) -> tuple[Array]:
        return (self._as(_f32(a) @ _f32(b), a),)


class SkipLayerNormalization(_Operator):
    """The norm of input + skip + bias."""

    def _run(
        self,
        x: Array,
        skip: Array,
        gamma: Array,
        beta: Array | None = None,
        bias: Array | None = None,
        epsilon: float | None = None,
    ) -> tuple[Array]:
        total = _f32(x) + _f32(skip)
        if bias is not None:
            total += _f32(bias)
        self._show(total, ", before the norm")
        return (self._as(_norm(total, gamma, beta, epsilon), x),)


class EmbedLayerNormalization(_Operator):
    """The norm of a word's and a position's row; ids are [1, T]."""

    def _run(
        self,
        ids: NDArray[np.int32],
        segments: None,
        words: Array,
        places: Array,
        segment_table: None,
        gamma: Array,
        beta: Array,
        mask: None,
        positions: NDArray[np.int32],
        epsilon: float | None = None,
        mask_index_type: int | None = None,
    ) -> tuple[Array]:
        return (self._as(_norm(_f32(words[ids]) + _f32(places[positions]), gamma, beta, epsilon), words),)


class BiasGelu(_Operator):
    """x Φ(x) of x + bias, with the error function."""

    def _run(self, x: Array, bias: Array) -> tuple[Array]:
        added = self._as(_f32(x) + _f32(bias), x)
        normal = self._as(np.float32(0.5) * (1 + erf(_f32(added) * SQRT_HALF)), x)
        return (self._as(_f32(added) * _f32(normal), x),)


class FastGelu(_Operator):
    """GELU by tanh, arXiv:1606.08415 section 2."""

    def _run(self, x: Array, bias: Array) -> tuple[Array]:
        added = _f32(self._as(_f32(x) + _f32(bias), x))
        inner = np.float32(np.sqrt(2 / np.pi)) * (added + np.float32(0.044715) * added**3)
        return (self._as(np.float32(0.5) * added * (1 + np.tanh(inner)), x),)


class PackedMultiHeadAttention(_Operator):
    """Attention inside each sequence. Tokens of none come out as NaN, as they would be garbage on a device."""

    def _run(
        self,
        query: Array,
        key: Array | None,
        value: Array | None,
        bias: Array | None,
        token_offset: NDArray[np.int32],
        bounds: NDArray[np.int32],
        attention_bias: Array | None = None,
        num_heads: int | None = None,
        scale: float | None = None,
        mask_filter_value: float | None = None,
    ) -> tuple[Array]:
        assert num_heads is not None
        q_TND, k_TND, v_TND = _heads(query, key, value, bias, num_heads)
        sequences, longest = token_offset.shape
        lengths = np.diff(bounds)
        if len(lengths) != sequences or lengths.min() < 0 or lengths.max() > longest or bounds[-1] > len(query):
            raise ValueError(
                f"cu_seqlens {bounds} do not fit token_offset {token_offset.shape} and {len(query)} tokens"
            )
        factor = np.float32(scale or 1 / np.sqrt(q_TND.shape[2]))
        context_TND = np.full_like(v_TND, np.nan)
        for first, end in pairwise(bounds):
            part = slice(first, end)
            logits_NLL = factor * (q_TND[part].transpose(1, 0, 2) @ k_TND[part].transpose(1, 2, 0))
            if attention_bias is not None:
                logits_NLL += _f32(attention_bias[0, :, : end - first, : end - first])
            context_TND[part] = _mix(logits_NLL, v_TND[part], query)
        return (self._as(context_TND.reshape(len(query), -1), query),)


def operators(*watchers: Watch) -> list[type[OpRun]]:
    """The operators for a ReferenceEvaluator; `watchers` are told each output's name and values."""
    found = (MatMul, SkipLayerNormalization, EmbedLayerNormalization, BiasGelu, FastGelu, PackedMultiHeadAttention)
    return [type(operator.__name__, (operator,), {"watchers": watchers}) for operator in found]


def _heads(
    query: Array, key: Array | None, value: Array | None, bias: Array | None, heads: int
) -> tuple[Floats, Floats, Floats]:
    """Queries, keys and values [T, N, D] with their bias, from [T, N, 3, D] or three of [T, H]."""
    if key is None or value is None:
        parts = [_f32(query[:, :, part]) for part in range(3)]
    else:
        parts = [_f32(part).reshape(len(part), heads, -1) for part in (query, key, value)]
    if bias is not None:
        biases = _f32(bias).reshape(3, 1, heads, -1)
        parts = [_f32((part + added).astype(query.dtype)) for part, added in zip(parts, biases, strict=True)]
    q_TND, k_TND, v_TND = parts
    return q_TND, k_TND, v_TND


def _mix(logits_NLL: Floats, v_LND: Floats, like: Array) -> Floats:
    """Softmax and its product with the values, [L, N, D]; an empty sequence gives nothing."""
    if not logits_NLL.size:
        return v_LND
    powers_NLL = np.exp(logits_NLL - logits_NLL.max(axis=-1, keepdims=True))
    sums_NL1 = powers_NLL.sum(axis=-1, keepdims=True)
    mixed_NLD = _f32(powers_NLL.astype(like.dtype)) @ v_LND.transpose(1, 0, 2)
    context_LND: Floats = (mixed_NLD / sums_NL1).transpose(1, 0, 2)
    return context_LND


def _norm(total: Floats, gamma: Array, beta: Array | None, epsilon: float | None) -> Floats:
    centred: Floats = total - total.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    scaled: Floats = centred / np.sqrt(variance + np.float32(epsilon or 0)) * _f32(gamma)
    return scaled if beta is None else np.asarray(scaled + _f32(beta), np.float32)


def _f32(values: Array) -> Floats:
    return values.astype(np.float32, copy=False)
