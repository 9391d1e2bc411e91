"""Bundles whose rows are vectors: each rule that they add, kept and broken."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from app.bundle.errors import BundleError
from app.bundle.manifest import Manifest
from app.bundle.vectors import VectorError, VectorInput, as_floats
from app.bundle.verify import verify
from app.engine.load import load_model
from tests.contract.bundles import ENCODER, Json, copy_of, edit_graph, edit_manifest, replace_file
from tests.vectors import MAX_STEPS, WIDTH, answer, like, some_rows, write_vectors


@pytest.fixture(params=[False, True], ids=["one vector a row", "a sequence a row"])
def is_sequence(request: pytest.FixtureRequest) -> bool:
    chosen: bool = request.param
    return chosen


def test_a_bundle_of_vectors_opens_and_answers(tmp_path: Path, is_sequence: bool) -> None:
    folder = write_vectors(tmp_path, is_sequence=is_sequence)

    assert verify(folder).manifest.vectors == like(is_sequence=is_sequence)
    rows = some_rows(7, is_sequence=is_sequence, seed=11)
    loaded = load_model(folder, "cpu", lanes=2)
    found = loaded.lane.run(rows)
    expected = [answer(row) for row in rows]
    assert np.abs(found["sentence_embedding"] - np.stack([vector for vector, _ in expected])).max() < 1e-5
    assert np.abs(found["logits_size"] - np.stack([logits for _, logits in expected])).max() < 1e-5
    assert loaded.status.plan is not None
    assert [figures.name for figures in loaded.status.plan.figures] == ["onnxruntime-fp32"]


def _golden_line(change: Callable[[Json], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        first, *rest = (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()
        row = json.loads(first)
        change(row)
        replace_file(folder, "golden.jsonl", "\n".join([json.dumps(row), *rest]).encode())

    return spoil


def _manifest(change: Callable[[Json], object]) -> Callable[[Path], None]:
    return lambda folder: edit_manifest(folder, change)


def _tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(b"{}")
    edit_manifest(
        folder,
        lambda m: m["files"].append({"path": "tokenizer.json", "role": "tokenizer", "bytes": 2, "sha256": "0" * 64}),
    )


def _narrow_graph(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = WIDTH + 1


FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "vectors without their description": (
        _manifest(lambda m: m.pop("vectors")), "B01-manifest", "`vectors` come together",
    ),
    "texts with a description of vectors": (
        _manifest(lambda m: m.update(modality="text")), "B01-manifest", "`vectors` come together",
    ),
    "a format that had none": (_manifest(lambda m: m.update(format=2)), "B01-manifest", "vectors came with format 3"),
    "a tokenizer": (_tokenizer, "B01-manifest", "one of vectors has none"),
    "a mean too few": (_manifest(lambda m: m["vectors"]["mean"].pop()), "B01-manifest", "have as many in `mean`"),
    "a std of 0": (_manifest(lambda m: m["vectors"]["std"].__setitem__(0, 0.0)), "B01-manifest", "greater than 0"),
    "a mean that is no number": (
        _manifest(lambda m: m["vectors"]["mean"].__setitem__(0, "NaN")), "B01-manifest", "vectors.mean.0",
    ),
    "another width than the inputs": (
        _manifest(lambda m: m["inputs"][0]["axes"].__setitem__(2, 9)), "B01-manifest", "inputs of these vectors are",
    ),
    "a single vector with a mask": (
        _manifest(lambda m: m["vectors"].update(is_sequence=False)), "B01-manifest", "inputs of these vectors are",
    ),
    "another width than the graph": (lambda f: edit_graph(f, _narrow_graph), "B07-signature", "has axis 5, not 4"),
    "a golden text": (
        _golden_line(lambda row: row.update(text="a", vectors=None)), "B09-golden-files", "is not a list of numbers",
    ),
    "a golden row of another width": (
        _golden_line(lambda row: row["vectors"][0].append(1.0)), "B09-golden-files", "this model takes 4",
    ),
    "a golden row that is too long": (
        _golden_line(lambda row: row.update(vectors=[[0.0] * WIDTH] * (MAX_STEPS + 1))),
        "B09-golden-files",
        "more than 5 vectors",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "rule", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_broken_rule_is_named(spoil: Callable[[Path], object], rule: str, reason: str, tmp_path: Path) -> None:
    folder = write_vectors(tmp_path, is_sequence=True)

    spoil(folder)

    with pytest.raises(BundleError) as refused:
        verify(folder)
    assert refused.value.rule == rule
    assert reason in str(refused.value)


def test_a_row_of_one_vector_has_no_length(tmp_path: Path) -> None:
    folder = write_vectors(tmp_path, is_sequence=False)

    edit_manifest(folder, lambda m: m.update(max_tokens=2))

    with pytest.raises(BundleError, match=r"B01-manifest.*a row is one vector, and max_tokens is 2"):
        verify(folder)


def test_standardising_by_other_numbers_shows(tmp_path: Path, is_sequence: bool) -> None:
    folder = write_vectors(tmp_path, is_sequence=is_sequence)

    def change(model: onnx.ModelProto) -> None:
        tensor = next(one for one in model.graph.initializer if one.name == "std")
        tensor.raw_data = np.array([1.0, 2.0, 0.6, 1.0], np.float32).tobytes()

    edit_graph(folder, change)

    verify(folder)
    with pytest.raises(BundleError, match="B10-golden"):
        load_model(folder, "cpu", lanes=1)


def test_a_text_bundle_needs_room_for_its_tokens(tmp_path: Path) -> None:
    folder = copy_of(ENCODER, tmp_path)

    edit_manifest(folder, lambda m: m.update(max_tokens=2))

    with pytest.raises(BundleError, match=r"B01-manifest.*a text has at least 3 tokens, and max_tokens is 2"):
        verify(folder)


def test_earlier_bundles_say_nothing_of_vectors() -> None:
    assert Manifest.model_fields["vectors"].default is None


ROWS = {
    "a text": ("one", "is not a list of numbers, or of lists of numbers"),
    "nothing": ([], "is empty; a row has at least one number"),
    "an empty vector": ([[]], "has an empty vector at [0]"),
    "digits in a text": ([1.0, "2"], "has at [1] what is not a number"),
    "true": ([True, 2.0], "has at [0] what is not a number"),
    "null": ([[1.0, 2.0], [None, 2.0]], "has at [1, 0] what is not a number"),
    "ragged": ([[1.0, 2.0], [1.0]], "is ragged: the vector at [1] has 1 values, the first has 2 values"),
    "a number among vectors": ([[1.0], 1.0], "is ragged: the vector at [1] has no list, the first has 1 values"),
    "not a number": ([1.0, float("nan")], "has at [1] what is not finite, or too large for float32"),
    "infinite": ([[float("-inf")]], "has at [0, 0] what is not finite, or too large for float32"),
    "too large": ([1e39], "has at [0] what is not finite, or too large for float32"),
    "far too large": ([10**400], "has a number too large for float32"),
    "too deep": ([[[1.0]]], "has at [0, 0] what is not a number"),
}


@pytest.mark.parametrize(("values", "reason"), ROWS.values(), ids=ROWS)
def test_what_is_no_row_is_named(values: object, reason: str) -> None:
    with pytest.raises(VectorError) as refused:
        as_floats(values)
    assert str(refused.value) == reason


def test_a_row_has_the_form_that_the_model_reads() -> None:
    one, several = like(is_sequence=False), like(is_sequence=True)
    vector = [1.0, 2, 3.0, 4.0]

    assert one.read(vector).tolist() == several.read([vector]).tolist() == [vector]
    for known, values, reason in (
        (one, [vector], "is a sequence of vectors, a list of lists of numbers; this model takes one vector"),
        (several, vector, "is one vector, a list of numbers; this model takes a sequence of vectors"),
        (one, [1.0], "has vectors of 1 values; this model takes 4"),
    ):
        with pytest.raises(VectorError, match=reason):
            VectorInput.read(known, values)
