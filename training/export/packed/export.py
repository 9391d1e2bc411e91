"""How does a model become a packed graph for CUDA, and how is it known to be right?

`PackedError` says that a model has no packed graph: its bundle goes without, and is served in padded batches.
"""

from dataclasses import dataclass

from google.protobuf.message import EncodeError

from app.bundle.packed import read_packed
from training.export.packed.families import read_weights
from training.export.packed.gate import PackedParity, check_graph
from training.export.packed.graph import PackedPrecision, build_graph
from training.export.packed.weights import PackedError
from training.export.parity import Reference
from training.modeling.model import Model


@dataclass(frozen=True, slots=True)
class ExportedPacked:
    """A half-precision packed graph, right as far as it can be told without a device."""

    data: bytes
    parity: PackedParity


def build_packed(model: Model, *, max_tokens: int, pad_id: int, precision: PackedPrecision = "fp16") -> bytes:
    """The model as a packed graph.

    Raises:
        PackedError: the model has none.
    """
    weights = read_weights(model, max_tokens=max_tokens, pad_id=pad_id)
    graph = build_graph(weights, precision)
    try:
        data: bytes = graph.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:  # protobuf's word for a message of over 2 GB
        raise PackedError(f"the packed graph in {precision} is over 2 GB, the most that one ONNX file holds") from error
    return data


def check_packed(graph: bytes, reference: Reference) -> PackedParity:
    """What the gate measured of a graph that keeps every rule; the graph's own precision decides the limits.

    Raises:
        GateError: the graph is not the model.
    """
    return check_graph(graph, reference, half=_is_half(graph))


def export_packed(reference: Reference) -> ExportedPacked:
    """The half-precision graph, after float32 has shown that the graph is the model.

    Raises:
        PackedError: the model has no packed graph. GateError: it is not what the model is.
    """
    sizes = {"max_tokens": reference.max_tokens, "pad_id": reference.pad_id}
    check_packed(build_packed(reference.model, precision="fp32", **sizes), reference)
    data = build_packed(reference.model, precision="fp16", **sizes)
    return ExportedPacked(data, check_packed(data, reference))


def _is_half(graph: bytes) -> bool:
    model, _spec = read_packed(graph, "the packed graph")
    return any(tensor.data_type == tensor.FLOAT16 for tensor in model.graph.initializer)
