"""How does somebody else's graph become a bundle's?

Its inputs become `input_ids` and `attention_mask`, int64; token types are zeros made inside. Of its outputs the logits
and the vector are kept, under the bundle's names, the vector pooled from states where it has to be. What nothing reads
any more goes, equal weights are kept once, and the names and notes of the exporter are stripped.
"""

import io
import warnings
from collections.abc import Iterator, Mapping

import onnx
import onnx_ir
import torch
from onnx import GraphProto, ModelProto, TensorProto, helper, version_converter
from onnx_ir.passes.common import DeduplicateHashedInitializersPass, RemoveUnusedNodesPass
from onnxscript.rewriter.ort_fusions import optimize_for_ort
from torch import nn

from app.bundle.manifest import EMBEDDING_OUTPUT, Pooling
from training.errors import TrainingError
from training.export.onnx import AXES, INPUTS, ExportedGraph, fused_counts, quiet, strip
from training.importing.onnx_file import IDS, INTEGERS, TYPES, OnnxFile
from training.modeling.pooling import pool

NEWEST_TORCHSCRIPT = 20  # opset
CLIPS_INTEGERS = 12  # the opset since which Clip takes them
HIDDEN, MASK, POOLED = "states", "mask", "vector"  # of the graph of the pooling


def adapt(file: OnnxFile, widths: Mapping[str, int], names: Mapping[str, str], pooling: Pooling) -> ModelProto:
    """The bundle's graph.

    Args:
        file: the source, which stays as it is.
        widths: by the bundle's output name, in its order.
        names: by the bundle's output name, the source's.
        pooling: of states, where the vector is not pooled yet.
    """
    model = ModelProto()
    model.CopyFrom(file.model)
    graph = model.graph
    _take_bundle_inputs(graph)
    for output, name in names.items():
        if output != name:
            _rename(graph, output, f"{output}/source")  # another value of the source's may have that name
        if output == EMBEDDING_OUTPUT and not file.is_pooled:
            _append_pooling(model, name, pooling)
        elif output != name:
            graph.node.append(helper.make_node("Identity", [name], [output]))
    del graph.output[:]
    for output, width in widths.items():
        graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, [AXES[0], width]))
    return model


def ways(adapted: ModelProto) -> Iterator[ExportedGraph]:
    """The graph with onnxscript's fusions for ONNX Runtime, if they take it, then as it is."""
    for name, fuse in (("the source's ONNX file + ort_fusions", True), ("the source's ONNX file", False)):
        try:
            with quiet():
                model = onnx_ir.from_proto(adapted)
                RemoveUnusedNodesPass()(model)
                DeduplicateHashedInitializersPass()(model)
                if fuse:
                    model, _counts = optimize_for_ort(model)
                proto = onnx_ir.to_proto(model)
        except Exception as error:  # rewriters raise whatever their parts raise
            if fuse:
                continue
            raise TrainingError(f"the graph cannot be rewritten: {str(error).strip().splitlines()[0]}") from error
        strip(proto)
        yield ExportedGraph(proto.SerializeToString(deterministic=True), fused_counts(proto), name)


def _take_bundle_inputs(graph: GraphProto) -> None:
    """`input_ids` and `attention_mask`, int64 and in this order."""
    made = []
    for one in graph.input:
        kind = one.type.tensor_type.elem_type
        if one.name != TYPES and kind == TensorProto.INT64:
            continue
        inside = f"{one.name}/{INTEGERS[kind]}"
        _rename(graph, one.name, inside)
        if one.name == TYPES:
            zero = helper.make_tensor(f"{inside}/zero", TensorProto.INT64, [], [0])
            graph.initializer.append(zero)
            made.append(helper.make_node("Mul", [IDS, zero.name], [f"{inside}/zeros"]))
        made.append(helper.make_node("Cast", [f"{inside}/zeros" if one.name == TYPES else one.name], [inside], to=kind))
    nodes = [*made, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.INT64, list(AXES)) for name in INPUTS)


def _rename(graph: GraphProto, old: str, new: str) -> None:
    """The value `old` is called `new` by all who make or read it, in nested graphs too."""
    for node in graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
        node.input[:] = [new if name == old else name for name in node.input]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, old, new)
    for output in graph.output:
        if output.name == old:
            output.name = new


def _append_pooling(model: ModelProto, states: str, pooling: Pooling) -> None:
    """The pooling of training/modeling/pooling.py of `states`, behind the graph, in the graph's opset."""
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if "lasttoken" in ([pooling] if isinstance(pooling, str) else pooling) and opset < CLIPS_INTEGERS:
        raise TrainingError(
            f"lasttoken pooling needs opset {CLIPS_INTEGERS}, and the file is of {opset}: export it anew"
        )
    pooled = _pooling_graph(pooling, opset).graph
    names = {HIDDEN: states, MASK: INPUTS[1], POOLED: EMBEDDING_OUTPUT, "": ""}
    for tensor in pooled.initializer:
        tensor.name = names.setdefault(tensor.name, f"pooling/{tensor.name}")
    for node in pooled.node:
        node.name = f"pooling/{node.name}"
        node.input[:] = [names.setdefault(name, f"pooling/{name}") for name in node.input]
        node.output[:] = [names.setdefault(name, f"pooling/{name}") for name in node.output]
    model.graph.initializer.extend(pooled.initializer)
    model.graph.node.extend(pooled.node)


class _Pool(nn.Module):
    def __init__(self, pooling: Pooling) -> None:
        super().__init__()
        self._pooling: Pooling = pooling

    def forward(self, states_BTD: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        return pool(states_BTD, mask_BT, self._pooling)


def _pooling_graph(pooling: Pooling, opset: int) -> ModelProto:
    """`states` [B, T, D] and `mask` [B, T] to `vector` [B, D]."""
    buffer = io.BytesIO()
    mask_BT = torch.tensor([[1, 1, 1], [1, 1, 0]])
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Pool(pooling),
            (torch.ones(2, 3, 4), mask_BT),
            buffer,  # type: ignore[arg-type]  # a file object is taken, the annotation knows paths only
            dynamo=False,
            opset_version=min(opset, NEWEST_TORCHSCRIPT),
            input_names=[HIDDEN, MASK],
            output_names=[POOLED],
            dynamic_axes={
                HIDDEN: {0: "batch", 1: "tokens", 2: "hidden"},
                MASK: dict(enumerate(AXES)),
                POOLED: {0: "batch"},
            },
        )
    exported = onnx.load_model_from_string(buffer.getvalue())
    return version_converter.convert_version(exported, opset) if opset > NEWEST_TORCHSCRIPT else exported
