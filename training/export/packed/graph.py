"""How do an encoder's weights become a packed graph?

Everything but attention runs on [T, H] (app/bundle/packed.py says what goes in). A layer is nine kernels: QKV product,
bias and transposition, attention, output product, norm with residual and bias, product, GELU with bias, product, norm.
- QKV columns are interleaved per head, n·3D + c·D + d, so that the product is read as [T, N, 3, D] as it lies. The bias
  of attention is not interleaved: [bq | bk | bv]. A wrong order has the right shape: only numbers can tell.
- The keys' bias moves every logit of a query alike and softmax takes it out; the values' goes through attention
  unchanged, since weights sum to 1, and is folded into the output's. Both exact; what is left is the queries'.
- The mean is attention too: with a scale so small that all logits are 0, every token's output is the mean of its
  sequence, in float32 inside the kernel. One-hot products would be six kernels and break on an uncovered tail.
- `cls` reads one token a text, so all of the last layer behind its attention runs on [B, H].
- The vector and the heads are float32. Neither the vector nor anything else is normalised.
Positions and words are two Gathers and a norm; `fused_embedding` makes it one kernel, whose next releases may check ids
with a copy to the host in every run.
Operators are checked against ONNX Runtime's schemas in tests; shapes are checked by nobody, so weights come checked.

T tokens, B sequences, H hidden size, N heads, D size of a head, F size inside the feed-forward block.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from app.bundle.manifest import EMBEDDING_OUTPUT
from app.bundle.packed import ATTENTION, CONTRIB, DISTANCE, KEY, PackedSpec
from training.export.packed.weights import EncoderWeights, Layer, Linear, Norm, PackedError

PackedPrecision = Literal["fp32", "fp16"]

OPSET = 20
IR_VERSION = 10
HALF_MOST = float(np.finfo(np.float16).max)
UNIFORM_SCALE = 1e-20  # logits below 1e-17 have the exponential 1 exactly; 0 would mean the default, 1/√D
DTYPES = {"fp32": (np.float32, TensorProto.FLOAT), "fp16": (np.float16, TensorProto.FLOAT16)}


def build_graph(
    weights: EncoderWeights, precision: PackedPrecision = "fp16", *, fused_embedding: bool = False
) -> ModelProto:
    """The packed graph of `weights`, with packed QKV; `app.bundle.packed.separate_qkv` makes the other layout.

    Raises:
        PackedError: a weight is no half-precision number.
    """
    return _Builder(weights, precision).build(fused_embedding=fused_embedding)


class _Builder:
    """A graph as far as it is written. Methods return the name of the value they made."""

    def __init__(self, weights: EncoderWeights, precision: PackedPrecision) -> None:
        self._weights = weights
        self._numpy, self._onnx = DTYPES[precision]
        self._nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []

    def build(self, *, fused_embedding: bool) -> ModelProto:
        weights = self._weights
        x = self._embed_fused() if fused_embedding else self._embed()
        bias = self._distance_bias() if weights.distance_NR is not None else ""
        for number, layer in enumerate(weights.layers):
            cut = weights.pooling == "cls" and number == len(weights.layers) - 1
            x = self._layer(f"layer{number}", layer, x, bias, cut=cut)
        vector = self._pool(x)
        for name, head in weights.classifiers.items():
            self._head(name, head, vector)
        return self._model()

    def _embed(self) -> str:
        weights = self._weights
        words = self._node("Gather", ["input_ids"], "words", tensors={"words.table": weights.word_VH}, first=True)
        places = self._node(
            "Gather", ["position_ids"], "positions", tensors={"positions.table": weights.position_PH}, first=True
        )
        return self._norm("embedding", words, places, weights.embedding_norm, None)

    def _embed_fused(self) -> str:
        weights, row = self._weights, np.array([1, -1], np.int64)
        ids, places = (
            self._node("Reshape", [name, self._tensor(f"{name}.row", row)], f"{name}.2d")
            for name in ("input_ids", "position_ids")
        )
        word, position, gamma, beta = (
            self._tensor(f"embedding.{name}", self._cast(value))
            for name, value in (
                ("word", weights.word_VH),
                ("position", weights.position_PH),
                ("gamma", weights.embedding_norm.gamma),
                ("beta", weights.embedding_norm.beta),
            )
        )
        inputs = [ids, "", word, position, "", gamma, beta, "", places]
        # Without mask_index_type the operator wants a second output, and filling it costs a kernel.
        embedded = self._node(
            "EmbedLayerNormalization",
            inputs,
            "embedding.3d",
            domain=CONTRIB,
            epsilon=weights.epsilon,
            mask_index_type=0,
        )
        flat = self._tensor("embedding.shape", np.array([-1, weights.hidden], np.int64))
        return self._node("Reshape", [embedded, flat], "embedding")

    def _distance_bias(self) -> str:
        """[1, N, S, S] from a table [N, R] by the input `distance` [S, S]; the same for every layer."""
        assert self._weights.distance_NR is not None
        table = self._tensor("distance.table", self._cast(self._weights.distance_NR))
        gathered = self._node("Gather", [table, DISTANCE], "distance.bias", axis=1)
        first = self._tensor("distance.axis", np.array([0], np.int64))
        return self._node("Unsqueeze", [gathered, first], "distance.bias.batch")

    def _layer(self, prefix: str, layer: Layer, x: str, bias: str, *, cut: bool) -> str:
        context = self._attention(prefix, layer, x, bias)
        if cut:
            context = self._node("Gather", [context, "cls_index"], f"{prefix}.attention.cls")
            x = self._node("Gather", [x, "cls_index"], f"{prefix}.input.cls")
        out = self._product(f"{prefix}.out", context, layer.out)
        out_bias = layer.out.bias + layer.value.bias.astype(np.float64) @ layer.out.weight.astype(np.float64)
        x = self._norm(f"{prefix}.attention_norm", out, x, layer.attention_norm, out_bias.astype(np.float32))
        up = self._product(f"{prefix}.up", x, layer.up)
        gelu = "BiasGelu" if self._weights.gelu == "erf" else "FastGelu"
        inner = self._node(gelu, [up], f"{prefix}.gelu", domain=CONTRIB, tensors={f"{prefix}.up.bias": layer.up.bias})
        down = self._product(f"{prefix}.down", inner, layer.down)
        return self._norm(f"{prefix}.output_norm", down, x, layer.output_norm, layer.down.bias)

    def _attention(self, prefix: str, layer: Layer, x: str, bias: str) -> str:
        hidden, heads = self._weights.hidden, self._weights.heads
        parts = [part.weight.reshape(hidden, heads, -1) for part in (layer.query, layer.key, layer.value)]
        packed = Linear(np.stack(parts, axis=2).reshape(hidden, 3 * hidden), np.zeros(0, np.float32))
        flat = self._product(f"{prefix}.qkv", x, packed)
        shape = self._tensor(f"{prefix}.qkv.shape", np.array([-1, heads, 3, hidden // heads], np.int64))
        qkv = self._node("Reshape", [flat, shape], f"{prefix}.qkv.4d")
        query_bias = np.concatenate([layer.query.bias, np.zeros(2 * hidden, np.float32)])
        added = self._tensor(f"{prefix}.qkv.bias", self._cast(query_bias))
        inputs = [qkv, "", "", added, "token_offset", "cu_seqlens", *([bias] if bias else [])]
        return self._node(ATTENTION, inputs, f"{prefix}.attention", domain=CONTRIB, num_heads=heads)

    def _pool(self, x: str) -> str:
        """The vector [B, H], float32."""
        if self._weights.pooling == "mean":
            means = self._node(
                ATTENTION,
                [x, x, x, "", "token_offset", "cu_seqlens"],
                "mean",
                domain=CONTRIB,
                num_heads=self._weights.heads,
                scale=UNIFORM_SCALE,
            )
            x = self._node("Gather", [means, "cls_index"], "mean.cls")
        return self._node("Cast", [x], EMBEDDING_OUTPUT, to=TensorProto.FLOAT)

    def _head(self, name: str, head: Linear, vector: str) -> None:
        weight, bias = self._tensor(f"{name}.weight", head.weight), self._tensor(f"{name}.bias", head.bias)
        self._node("Add", [self._node("MatMul", [vector, weight], f"{name}.product"), bias], name)

    def _product(self, name: str, x: str, linear: Linear) -> str:
        """MatMul alone: Gemm with a bias is two more kernels on CUDA, and the next operator adds the bias anyway."""
        return self._node("MatMul", [x], name, tensors={f"{name}.weight": linear.weight})

    def _norm(self, name: str, x: str, residual: str, norm: Norm, bias: NDArray[np.float32] | None) -> str:
        tensors = {f"{name}.gamma": norm.gamma, f"{name}.beta": norm.beta}
        if bias is not None:
            tensors[f"{name}.bias"] = bias
        return self._node(
            "SkipLayerNormalization",
            [x, residual],
            name,
            domain=CONTRIB,
            tensors=tensors,
            epsilon=self._weights.epsilon,  # the CUDA kernel insists on it
        )

    def _node(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str,
        *,
        domain: str = "",
        tensors: dict[str, NDArray[np.float32]] | None = None,
        first: bool = False,
        **attributes: Any,  # noqa: ANN401  # what the operator has
    ) -> str:
        """A node; its `tensors` stand in the graph's precision behind its inputs, or before them."""
        held = [self._tensor(name, self._cast(value)) for name, value in (tensors or {}).items()]
        names = [*held, *inputs] if first else [*inputs, *held]
        self._nodes.append(helper.make_node(operator, names, [output], name=output, domain=domain, **attributes))
        return output

    def _cast(self, values: NDArray[np.float32]) -> NDArray[np.floating]:
        if self._numpy is np.float16 and (most := np.abs(values).max(initial=0)) > HALF_MOST:
            raise PackedError(f"a weight of {most:.0f} is over {HALF_MOST:.0f}, the largest half-precision number")
        return np.ascontiguousarray(values, self._numpy)

    def _tensor(self, name: str, values: NDArray[np.generic]) -> str:
        self._tensors.append(numpy_helper.from_array(values, name))
        return name

    def _model(self) -> ModelProto:
        weights = self._weights
        widths = {EMBEDDING_OUTPUT: weights.hidden} | {n: len(head.bias) for n, head in weights.classifiers.items()}
        spec = PackedSpec(
            heads=weights.heads,
            hidden=weights.hidden,
            vocabulary=len(weights.word_VH),
            max_tokens=weights.max_tokens,
            pad_id=weights.pad_id,
            position_pad=weights.position_pad,
            distance=weights.distance_NR is not None,
            outputs=widths,
        )
        axes: dict[str, list[str | int]] = {
            "input_ids": ["tokens"],
            "position_ids": ["tokens"],
            "cu_seqlens": ["bounds"],
            "token_offset": ["batch", "longest"],
            "cls_index": ["batch"],
            DISTANCE: ["longest", "longest"],
        }
        graph = helper.make_graph(
            self._nodes,
            "packed",
            [helper.make_tensor_value_info(name, TensorProto.INT32, axes[name]) for name in spec.inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in widths.items()],
            self._tensors,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="encodery")
        helper.set_model_props(model, {KEY: spec.model_dump_json()})
        return model
