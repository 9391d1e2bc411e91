"""Is this ONNX file safe to hand to a runtime, and is it the graph that the manifest describes?

Paths inside an ONNX file have let attackers read other files again and again (CVE-2022-25882, CVE-2024-27318,
CVE-2026-27489), so external data is refused wherever a tensor can stand: initializers, sparse ones, attributes,
nested graphs and functions. Operators come from two domains only.
"""

from collections.abc import Iterator

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from app.bundle.errors import BundleError
from app.bundle.manifest import Manifest, Tensor

DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})
DTYPES = {"int64": TensorProto.INT64, "int32": TensorProto.INT32, "float32": TensorProto.FLOAT}


def check_graph(data: bytes, manifest: Manifest, path: str) -> None:
    """Parse and check one model file.

    Raises:
        BundleError: B06 for a file that does not parse, points outside itself or uses a foreign operator;
            B07 when inputs or outputs differ from the manifest's.
    """
    model = parse_graph(data, path)
    _check_signature(model.graph.input, manifest.inputs, f"{path}: inputs")
    _check_signature(model.graph.output, manifest.outputs, f"{path}: outputs")


def parse_graph(data: bytes, path: str) -> ModelProto:
    """The parsed model, without external data and with known operator domains only (else B06)."""
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise BundleError("B06-graph", f"{path} is not an ONNX model") from error
    if not model.graph.node:
        raise BundleError("B06-graph", f"{path} has no nodes")
    for message in _messages(model):
        if isinstance(message, TensorProto) and (
            message.external_data or message.data_location == TensorProto.EXTERNAL
        ):
            raise BundleError("B06-graph", f"{path}: tensor {message.name!r} keeps its data outside the file")
        if isinstance(message, NodeProto) and message.domain not in DOMAINS:
            raise BundleError("B06-graph", f"{path}: unknown operator {message.domain}::{message.op_type}")
    return model


def _messages(message: Message) -> Iterator[Message]:
    """`message` and every message inside it, without unfolding raw data."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for child in value if field.is_repeated else (value,):
            yield from _messages(child)


def _check_signature(found: "list[ValueInfoProto]", expected: list[Tensor], what: str) -> None:
    names = [value.name for value in found]
    if names != [tensor.name for tensor in expected]:
        raise BundleError("B07-signature", f"{what} are {names}, not {[tensor.name for tensor in expected]}")
    for value, tensor in zip(found, expected, strict=True):
        if value.type.tensor_type.elem_type != DTYPES[tensor.dtype]:
            raise BundleError("B07-signature", f"{what}: {value.name} is not {tensor.dtype}")
        axes = value.type.tensor_type.shape.dim
        if len(axes) != len(tensor.axes):
            raise BundleError("B07-signature", f"{what}: {value.name} has {len(axes)} axes, not {len(tensor.axes)}")
        for axis, want in zip(axes, tensor.axes, strict=True):
            fixed = axis.dim_value if axis.HasField("dim_value") else None
            if fixed != (want if isinstance(want, int) else None):
                raise BundleError("B07-signature", f"{what}: {value.name} has axis {fixed or 'dynamic'}, not {want}")
