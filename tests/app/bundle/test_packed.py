"""A packed file says how it is fed, or it is refused."""

import onnx
import pytest
from onnx import ModelProto

from app.bundle.errors import BundleError
from app.bundle.packed import KEY, PackedSpec, read_packed, separate_qkv
from tests.data.packed import tiny_packed


def bytes_of(model: ModelProto) -> bytes:
    data: bytes = model.SerializeToString()
    return data


def refusal(model: ModelProto) -> str:
    with pytest.raises(BundleError) as refused:
        read_packed(bytes_of(model), "model.fp16.packed.onnx")
    return str(refused.value)


def test_file_describes_itself() -> None:
    _model, spec = read_packed(bytes_of(tiny_packed()), "graph")

    assert spec == PackedSpec(
        heads=4, hidden=32, vocabulary=400, max_tokens=64, pad_id=0, outputs={"sentence_embedding": 32}
    )


def test_graph_that_is_not_packed_is_refused() -> None:
    model = tiny_packed()
    del model.metadata_props[:]

    assert refusal(model).startswith("[B06-graph] model.fp16.packed.onnx has no metadata encodery.packed")


def test_unknown_description_is_refused() -> None:
    model = tiny_packed()
    onnx.helper.set_model_props(model, {KEY: '{"format": 2}'})

    assert refusal(model).startswith("[B06-graph]")


@pytest.mark.parametrize("part", ["input", "output"])
def test_other_inputs_or_outputs_than_described_are_refused(part: str) -> None:
    model = tiny_packed()
    values = getattr(model.graph, part)
    values[0].name = "other"

    assert refusal(model).startswith(f"[B07-signature] model.fp16.packed.onnx: {part}s are ['other'")


def test_separating_leaves_the_graph_as_it_was() -> None:
    model = tiny_packed()
    before = bytes_of(model)

    apart = separate_qkv(model)

    assert bytes_of(model) == before
    read_packed(bytes_of(apart), "graph")
    assert {tensor.name for tensor in apart.graph.initializer} & {"layer0.qkv.weight", "layer0.qkv.bias"} == set()
