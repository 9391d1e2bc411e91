"""A packed graph that ONNX Runtime's CPU can run: attention written out in plain operators over all tokens of a batch.

For tests alone: it costs T × T per head. It has no attention bias, so models whose attention knows distances have no
twin. T tokens, B sequences, N heads, D size of a head.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from app.bundle.packed import ATTENTION

Precision = type[np.float16] | type[np.float32]

FAR = -30_000.0  # far below any logit, and a half-precision number


def cpu_twin(model: ModelProto) -> ModelProto:
    """The same graph without packed attention; `model` stays as it was."""
    twin = ModelProto()
    twin.CopyFrom(model)
    graph = twin.graph
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)
    precision: Precision = np.float16 if half else np.float32
    nodes = list(_same_sequence(precision))
    for node in graph.node:
        nodes += list(_attention(node, precision)) if node.op_type == ATTENTION else [node]
    del graph.node[:]
    graph.node.extend(nodes)
    for name, values in CONSTANTS.items():
        graph.initializer.append(numpy_helper.from_array(values, name))
    graph.node.append(_node("Cast", ["token_offset"], "unused", to=TensorProto.FLOAT))  # an unread input is refused
    graph.output.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, ["batch", "longest"]))
    return twin


CONSTANTS: dict[str, np.ndarray] = {
    "zero": np.array(0, np.int64),
    "one": np.array(1, np.int64),
    "axis0": np.array([0], np.int64),
    "axis1": np.array([1], np.int64),
    "from1": np.array([1], np.int64),
    "to_end": np.array([2**31], np.int64),
}


def _same_sequence(precision: Precision) -> Iterator[NodeProto]:
    """`mask` [T, T]: 0 inside a sequence, far below 0 across two."""
    yield _constant("far", np.array(FAR, precision))
    yield _constant("near", np.array(0, precision))
    yield _node("Shape", ["input_ids"], "tokens1")
    yield _node("Squeeze", ["tokens1", "axis0"], "tokens")
    yield _node("Range", ["zero", "tokens", "one"], "place")
    yield _node("Slice", ["cu_seqlens", "from1", "to_end", "axis0"], "ends32")
    yield _node("Cast", ["ends32"], "ends", to=TensorProto.INT64)
    yield _node("Unsqueeze", ["place", "axis1"], "place_T1")
    yield _node("GreaterOrEqual", ["place_T1", "ends"], "behind")
    yield _node("Cast", ["behind"], "behind_TB", to=TensorProto.INT64)
    yield _node("ReduceSum", ["behind_TB", "axis1"], "sequence_T1", keepdims=1)
    yield _node("Transpose", ["sequence_T1"], "sequence_1T")
    yield _node("Equal", ["sequence_T1", "sequence_1T"], "same")
    yield _node("Where", ["same", "near", "far"], "mask")


def _attention(node: NodeProto, precision: Precision) -> Iterator[NodeProto]:
    out = f"twin.{node.output[0]}"
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    heads = attributes["num_heads"]
    yield _constant(f"{out}.split", np.array([0, heads, -1] if node.input[1] else [0, heads, 3, -1], np.int64))
    if node.input[1]:
        for name, part in zip("qkv", node.input[:3], strict=True):
            yield _node("Reshape", [part, f"{out}.split"], f"{out}.{name}_TND")
    else:
        yield _constant(f"{out}.bias4", np.array([3, heads, -1], np.int64))
        yield _node("Reshape", [node.input[3], f"{out}.bias4"], f"{out}.bias_3ND")
        yield _node("Transpose", [f"{out}.bias_3ND"], f"{out}.bias_N3D", perm=[1, 0, 2])
        yield _node("Add", [node.input[0], f"{out}.bias_N3D"], f"{out}.biased")
        for index, name in enumerate("qkv"):
            yield _constant(f"{out}.{index}", np.array(index, np.int64))
            yield _node("Gather", [f"{out}.biased", f"{out}.{index}"], f"{out}.{name}_TND", axis=2)
    yield _node("Transpose", [f"{out}.q_TND"], f"{out}.q", perm=[1, 0, 2])
    yield _node("Transpose", [f"{out}.k_TND"], f"{out}.k", perm=[1, 2, 0])
    yield _node("Transpose", [f"{out}.v_TND"], f"{out}.v", perm=[1, 0, 2])
    yield _node("MatMul", [f"{out}.q", f"{out}.k"], f"{out}.raw")
    yield from _scaled(out, attributes, precision)
    yield _node("Add", [f"{out}.scaled", "mask"], f"{out}.masked")
    yield _node("Softmax", [f"{out}.masked"], f"{out}.shares", axis=-1)
    yield _node("MatMul", [f"{out}.shares", f"{out}.v"], f"{out}.mixed")
    yield _node("Transpose", [f"{out}.mixed"], f"{out}.mixed_TND", perm=[1, 0, 2])
    yield _constant(f"{out}.flat", np.array([0, -1], np.int64))
    yield _node("Reshape", [f"{out}.mixed_TND", f"{out}.flat"], node.output[0])


def _scaled(out: str, attributes: dict[str, float], precision: Precision) -> Iterator[NodeProto]:
    """The default scale, 1/√D, is read from the queries' shape."""
    if scale := attributes.get("scale"):
        yield _constant(f"{out}.scale", np.array(scale, precision))
        yield _node("Mul", [f"{out}.raw", f"{out}.scale"], f"{out}.scaled")
        return
    yield _node("Shape", [f"{out}.q"], f"{out}.size1", start=2)
    yield _node("Cast", [f"{out}.size1"], f"{out}.size", to=helper.np_dtype_to_tensor_dtype(np.dtype(precision)))
    yield _node("Sqrt", [f"{out}.size"], f"{out}.root")
    yield _node("Div", [f"{out}.raw", f"{out}.root"], f"{out}.scaled")


def _constant(name: str, values: np.ndarray) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))


def _node(operator: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:  # noqa: ANN401
    return helper.make_node(operator, inputs, [output], **attributes)
