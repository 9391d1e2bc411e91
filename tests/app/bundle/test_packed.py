"""A packed file says how it is fed, or it is refused."""

import hashlib
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

from app.bundle.errors import BundleError
from app.bundle.packed import KEY, PACKED_FILE, PackedSpec, read_packed, separate_qkv
from app.bundle.verify import verify
from tests.contract.bundles import ENCODER, copy_of, edit_manifest
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


def test_other_types_than_described_are_refused() -> None:
    model = tiny_packed()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64

    assert refusal(model) == "[B07-signature] model.fp16.packed.onnx: inputs: input_ids is not INT32"


def with_packed(store: Path, model: ModelProto) -> Path:
    """The tiny encoder with a packed graph."""
    folder = copy_of(ENCODER, store)
    data = bytes_of(model)
    (folder / PACKED_FILE).write_bytes(data)
    entry = {"path": PACKED_FILE, "role": "model", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    entry |= {"device": "cuda", "precision": "fp16", "state": "unverified"}
    edit_manifest(folder, lambda manifest: manifest["files"].append(entry))
    return folder


def test_bundle_with_a_packed_graph_is_whole(tmp_path: Path) -> None:
    bundle = verify(with_packed(tmp_path, tiny_packed("fp16")))

    assert PACKED_FILE in [file.path for file in bundle.manifest.files]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"max_tokens": 32}, "max_tokens of the packed graph: 32, not 64"), ({"pad_id": 3}, "pad_id of the packed")],
    ids=["max_tokens", "pad_id"],
)
def test_packed_graph_of_another_model_is_refused(change: dict[str, int], message: str, tmp_path: Path) -> None:
    model = tiny_packed("fp16")
    _, spec = read_packed(bytes_of(model), "graph")
    onnx.helper.set_model_props(model, {KEY: spec.model_copy(update=change).model_dump_json()})

    with pytest.raises(BundleError, match=rf"B07-signature.*{message}"):
        verify(with_packed(tmp_path, model))


def test_separating_leaves_the_graph_as_it_was() -> None:
    model = tiny_packed()
    before = bytes_of(model)

    apart = separate_qkv(model)

    assert bytes_of(model) == before
    read_packed(bytes_of(apart), "graph")
    assert {tensor.name for tensor in apart.graph.initializer} & {"layer0.qkv.weight", "layer0.qkv.bias"} == set()
