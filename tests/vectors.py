"""A real bundle of vectors, written without torch: standardised, a layer of ReLU, the mean over a sequence,
two labels.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.bundle.manifest import (
    EMBEDDING_OUTPUT,
    FORMAT,
    BundleFile,
    ClassifyHead,
    EmbedHead,
    Golden,
    Manifest,
    Role,
    Tensor,
    Trunk,
)
from app.bundle.store import bundle_dir, set_current
from app.bundle.vectors import VectorInput

WIDTH, DIMENSIONS, MAX_STEPS = 4, 6, 5
LABELS = ["low", "high"]
GOLDEN_ROWS = 32

Floats = NDArray[np.float32]


def like(*, is_sequence: bool) -> VectorInput:
    return VectorInput(width=WIDTH, is_sequence=is_sequence, mean=[0.0, 1.0, -2.0, 10.0], std=[1.0, 2.0, 0.5, 1.0])


def weights() -> tuple[Floats, Floats, Floats, Floats]:
    chance = np.random.default_rng(5)
    shapes = ((WIDTH, DIMENSIONS), (DIMENSIONS,), (DIMENSIONS, len(LABELS)), (len(LABELS),))
    layer, bias, head, head_bias = (chance.normal(size=shape).astype(np.float32) for shape in shapes)
    return layer, np.abs(bias), head, head_bias


def some_rows(count: int, *, is_sequence: bool, seed: int = 3) -> list[Floats]:
    """Rows [T, F] as they would be served."""
    chance, known = np.random.default_rng(seed), like(is_sequence=is_sequence)
    lengths = [1 + place % MAX_STEPS if is_sequence else 1 for place in range(count)]
    return [
        (np.array(known.mean) + np.array(known.std) * chance.normal(size=(length, WIDTH))).astype(np.float32)
        for length in lengths
    ]


def as_json(rows: list[Floats], *, is_sequence: bool) -> list[object]:
    return [row.tolist() if is_sequence else row[0].tolist() for row in rows]


def answer(row_TF: Floats) -> tuple[Floats, Floats]:
    """The vector and the logits of one row, by numpy."""
    layer, bias, head, head_bias = weights()
    known = like(is_sequence=True)
    standard_TF = (row_TF - np.array(known.mean, np.float32)) / np.array(known.std, np.float32)
    vector = np.maximum(standard_TF @ layer + bias, 0).mean(axis=0)
    return vector, vector @ head + head_bias


def graph(*, is_sequence: bool) -> bytes:
    known = like(is_sequence=is_sequence)
    layer, bias, head, head_bias = weights()
    arrays: dict[str, NDArray[np.generic]] = {
        "mean": np.array(known.mean, np.float32), "std": np.array(known.std, np.float32), "layer": layer, "bias": bias,
        "head": head, "head_bias": head_bias, "last": np.array([-1], np.int64), "steps": np.array([1], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("Sub", ["vectors", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["standard"]),
        helper.make_node("MatMul", ["standard", "layer"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["states" if is_sequence else EMBEDDING_OUTPUT]),
    ]
    if is_sequence:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["mask_of_values"]),
            helper.make_node("Mul", ["states", "mask_of_values"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "steps"], ["total"], keepdims=0),
            helper.make_node("ReduceSum", ["mask", "steps"], ["length"], keepdims=1),
            helper.make_node("Div", ["total", "length"], [EMBEDDING_OUTPUT]),
        ]
    nodes += [
        helper.make_node("MatMul", [EMBEDDING_OUTPUT, "head"], ["weighed"]),
        helper.make_node("Add", ["weighed", "head_bias"], ["logits_size"]),
    ]
    types = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    inputs = [helper.make_tensor_value_info(name, types[kind], axes) for name, kind, axes in known.inputs]
    widths = {EMBEDDING_OUTPUT: DIMENSIONS, "logits_size": len(LABELS)}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", n]) for name, n in widths.items()]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items() if is_sequence or name != "last"]
    model = helper.make_model(
        helper.make_graph(nodes, "vectors", inputs, outputs, tensors),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def write_vectors(store: Path, *, is_sequence: bool, name: str = "numbers") -> Path:
    """The bundle, current in `store`; returns its folder."""
    folder = bundle_dir(store, name, 1)
    folder.mkdir(parents=True)
    rows, known = some_rows(GOLDEN_ROWS, is_sequence=is_sequence), like(is_sequence=is_sequence)
    answers = [answer(row) for row in rows]
    vectors, logits = np.stack([vector for vector, _ in answers]), np.stack([logit for _, logit in answers])
    lines = [
        json.dumps({"vectors": row, "labels": {"size": LABELS[best]}})
        for row, best in zip(as_json(rows, is_sequence=is_sequence), logits.argmax(axis=1).tolist(), strict=True)
    ]
    archive = io.BytesIO()
    np.savez(archive, sentence_embedding=vectors, logits_size=logits)
    widths = {EMBEDDING_OUTPUT: DIMENSIONS, "logits_size": len(LABELS)}
    manifest = Manifest(
        format=FORMAT,
        name=name,
        version=1,
        created="2026-01-02T03:04:05Z",
        modality="vectors",
        vectors=known,
        trunk=Trunk(architecture="one layer", source="tests", sha256="0" * 64, hidden=DIMENSIONS),
        heads=[
            ClassifyHead(name="size", output="logits_size", problem_type="single_label", labels=LABELS),
            EmbedHead(name="embedding", output=EMBEDDING_OUTPUT, dimensions=DIMENSIONS),
        ],
        pooling="mean",
        max_tokens=MAX_STEPS if is_sequence else 1,
        pad_id=0,
        space="space-of-numbers",
        inputs=[Tensor(name=input, dtype=kind, axes=axes) for input, kind, axes in known.inputs],
        outputs=[Tensor(name=output, dtype="float32", axes=["batch", n]) for output, n in widths.items()],
        files=[
            _file(folder, "model.fp32.onnx", "model", graph(is_sequence=is_sequence)),
            _file(folder, "golden.jsonl", "golden-inputs", ("\n".join(lines) + "\n").encode()),
            _file(folder, "golden.npz", "golden-outputs", archive.getvalue()),
        ],
        golden=Golden(rows=GOLDEN_ROWS),
        parity={},
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    set_current(store, name, 1)
    return folder


def _file(folder: Path, path: str, role: Role, data: bytes) -> BundleFile:
    (folder / path).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return BundleFile(
        path=path, role=role, bytes=len(data), sha256=digest, precision="fp32" if role == "model" else None
    )
