"""What is a packed graph, and how does a runtime learn how to feed it?

A packed graph takes a batch as one row of tokens without padding, so everything but attention runs on [T, H]; it
exists because padding is most of the work on a GPU when texts differ in length (docs/adr/0010-packed-graph.md).

Inputs, all int32: `input_ids` [T], `position_ids` [T], `cu_seqlens` [B + 1] (where each sequence begins, and the end),
`token_offset` [B, S] (its shape alone is read: it tells B and the longest length S; zeros), `cls_index` [B] (the first
token of each sequence), and for models whose attention depends on distance `distance` [S, S]. Outputs are those of the
bundle's other graphs. How to make the inputs from rows of ids stands in the file itself, as metadata under `KEY`.

T tokens of a batch, B sequences, S longest length, H hidden size, N heads, D size of a head.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from pydantic import Field, ValidationError

from app.bundle.errors import BundleError
from app.bundle.graph import parse_graph
from app.bundle.manifest import Manifest, Strict

PACKED_FILE: Final = "model.fp16.packed.onnx"
KEY: Final = "encodery.packed"
INPUTS: Final = ("input_ids", "position_ids", "cu_seqlens", "token_offset", "cls_index")
DISTANCE: Final = "distance"
ATTENTION: Final = "PackedMultiHeadAttention"
CONTRIB: Final = "com.microsoft"

Floats = NDArray[np.floating]


class PackedSpec(Strict):
    """What the host must know to feed a packed graph.

    `position_pad`: None where positions count from 0; else RoBERTa's way: the id of padding, whose tokens all have
    this number as their position, while the others count from the next number on.
    `distance`: the graph takes `distance`, each clipped to ± (max_tokens - 1) and moved to begin at 0.
    """

    format: Literal[1] = 1
    heads: int = Field(ge=1)
    hidden: int = Field(ge=1)
    vocabulary: int = Field(ge=1)
    max_tokens: int = Field(ge=1)
    pad_id: int = Field(ge=0)
    position_pad: int | None = None
    distance: bool = False
    outputs: dict[str, int] = Field(min_length=1)  # width of each, in the graph's order

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the graph's inputs, in its order."""
        return (*INPUTS, DISTANCE) if self.distance else INPUTS


def read_packed(data: bytes, path: str) -> tuple[ModelProto, PackedSpec]:
    """The parsed graph and its description.

    Raises:
        BundleError: B06 where the file is no packed graph, B07 where its inputs or outputs are not the described ones.
    """
    model = parse_graph(data, path)
    notes = {note.key: note.value for note in model.metadata_props}
    if KEY not in notes:
        raise BundleError("B06-graph", f"{path} has no metadata {KEY}: it is not a packed graph")
    try:
        spec = PackedSpec.model_validate_json(notes[KEY])
    except ValidationError as error:
        raise BundleError("B06-graph", f"{path}: metadata {KEY}: {error.errors()[0]['msg']}") from error
    for what, values, names, dtype in (
        ("inputs", model.graph.input, list(spec.inputs), TensorProto.INT32),
        ("outputs", model.graph.output, list(spec.outputs), TensorProto.FLOAT),
    ):
        if (found := [value.name for value in values]) != names:
            raise BundleError("B07-signature", f"{path}: {what} are {found}, not {names}")
        if odd := [value.name for value in values if value.type.tensor_type.elem_type != dtype]:
            raise BundleError("B07-signature", f"{path}: {what}: {odd[0]} is not {TensorProto.DataType.Name(dtype)}")
    return model, spec


def check_packed(data: bytes, manifest: Manifest, path: str) -> None:
    """Parse and check the packed graph of a bundle.

    Raises:
        BundleError: B06 or B07, as `read_packed`; B07 too where it is not made for this manifest's model.
    """
    _model, spec = read_packed(data, path)
    promised = {output.name: output.axes[-1] for output in manifest.outputs}
    for what, found, expected in (
        ("outputs", spec.outputs, promised),
        ("pad_id", spec.pad_id, manifest.pad_id),
        ("max_tokens", spec.max_tokens, manifest.max_tokens),
    ):
        if found != expected:
            raise BundleError("B07-signature", f"{path}: {what} of the packed graph: {found}, not {expected}")


def separate_qkv(model: ModelProto) -> ModelProto:
    """The same graph with a MatMul each for queries, keys and values; `model` stays as it was.

    ONNX Runtime copies packed QKV into another layout inside attention, with scratch for B × S padded slots; separate
    ones without bias are read where they are. Which is faster depends on device and batch, so both are measured.
    Keys and values of a packed graph have no bias (training/export/packed/graph.py folds them), so the queries' is all
    there is to add.
    """
    other = ModelProto()
    other.CopyFrom(model)
    graph = other.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    nodes: list[NodeProto] = []
    dropped: set[str] = set()
    for node in graph.node:
        if node.op_type == ATTENTION and not node.input[1]:
            reshape = makers[node.input[0]]
            matmul = makers[reshape.input[0]]
            nodes = [kept for kept in nodes if kept.output[0] not in (reshape.output[0], matmul.output[0])]
            nodes += _separated(graph, node, matmul, weights)
            dropped |= {matmul.input[1], node.input[3]}
        else:
            nodes.append(node)
    kept = [tensor for tensor in graph.initializer if tensor.name not in dropped]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return other


def _separated(
    graph: GraphProto, attention: NodeProto, matmul: NodeProto, weights: dict[str, TensorProto]
) -> list[NodeProto]:
    """MatMul × 3, the queries' bias, attention; their weights are added to `graph`."""
    packed_HC = numpy_helper.to_array(weights[matmul.input[1]])
    bias_3H = numpy_helper.to_array(weights[attention.input[3]])
    hidden, heads = packed_HC.shape[0], _heads(attention)
    columns_HN3D = packed_HC.reshape(hidden, heads, 3, -1)
    prefix, nodes = attention.output[0], []
    for part, name in enumerate(("q", "k", "v")):
        weight = np.ascontiguousarray(columns_HN3D[:, :, part]).reshape(hidden, -1)
        graph.initializer.append(numpy_helper.from_array(weight, f"{prefix}.{name}.weight"))
        nodes.append(helper.make_node("MatMul", [matmul.input[0], f"{prefix}.{name}.weight"], [f"{prefix}.{name}"]))
    graph.initializer.append(numpy_helper.from_array(bias_3H[: len(bias_3H) // 3].copy(), f"{prefix}.q.bias"))
    nodes.append(helper.make_node("Add", [f"{prefix}.q", f"{prefix}.q.bias"], [f"{prefix}.q.biased"]))
    apart = NodeProto()
    apart.CopyFrom(attention)
    apart.input[:4] = [f"{prefix}.q.biased", f"{prefix}.k", f"{prefix}.v", ""]
    return [*nodes, apart]


def _heads(attention: NodeProto) -> int:
    return next(int(attribute.i) for attribute in attention.attribute if attribute.name == "num_heads")
