"""Each MUST of docs/bundle-format.md, broken."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from app.bundle.errors import BundleError, Rule
from app.bundle.open import open_bundle
from app.bundle.store import current
from app.bundle.verify import verify
from app.engine.load import load_model
from tests.contract.bundles import (
    CLASSIFIER,
    ENCODER,
    MODEL,
    STORE,
    Json,
    copy_of,
    edit_graph,
    edit_json,
    edit_manifest,
    replace_file,
    shuffle_weights,
)

Fault = Callable[[Path], object]

PADDING = {
    "strategy": {"Fixed": 64},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "[PAD]",
}
TRUNCATION = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}


def _external(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def _external_constant(model: ModelProto) -> None:
    value = helper.make_tensor("secret", TensorProto.FLOAT, [1], [0.0])
    value.external_data.add(key="location", value="weights.bin")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=value))


def _foreign(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Exec", ["input_ids"], ["unused"], domain="custom.ops"))
    model.opset_import.append(helper.make_opsetid("custom.ops", 1))


def _frozen(model: ModelProto) -> None:
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[1].dim_value = 7


def _rename_input(model: ModelProto) -> None:
    model.graph.input[0].name = "ids"


def _swap_inputs(model: ModelProto) -> None:
    first, second = (onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in model.graph.input)
    del model.graph.input[:]
    model.graph.input.extend([second, first])


def _drop_output(model: ModelProto) -> None:
    del model.graph.output[-1]


def _int32_input(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32


def _golden(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    arrays = dict(np.load(io.BytesIO((folder / "golden.npz").read_bytes())))
    change(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    replace_file(folder, "golden.npz", buffer.getvalue())


def _poison(arrays: dict[str, np.ndarray]) -> None:
    arrays["sentence_embedding"][3, 0] = np.nan


def _shorten_golden(folder: Path) -> None:
    lines = (folder / "golden.jsonl").read_bytes().splitlines(keepends=True)
    replace_file(folder, "golden.jsonl", b"".join(lines[:-1]))


def _several_reversed(manifest: Json) -> None:
    manifest["heads"][0] |= {"problem_type": "multi_label", "out_of_scope": None}
    _reverse_labels(manifest)


def _reverse_labels(manifest: Json) -> None:
    manifest["heads"][0]["labels"].reverse()


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _hard_link(folder: Path) -> None:
    os.link(folder / "golden.npz", folder.parent / "second-name")


def _folder_for_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()


def _symlink(folder: Path) -> None:
    target = (folder / "tokenizer.json").rename(folder.parent / "elsewhere.json")
    (folder / "tokenizer.json").symlink_to(target)


def _linked_folder(folder: Path) -> None:
    target = (folder / "report").rename(folder.parent / "elsewhere")
    (folder / "report").symlink_to(target, target_is_directory=True)


def _linked_version(folder: Path) -> None:
    target = folder.rename(folder.parent / "elsewhere")
    folder.symlink_to(target, target_is_directory=True)


FAULTS: dict[str, tuple[Rule, Fault]] = {
    "no manifest": ("B01-manifest", lambda folder: (folder / "manifest.json").unlink()),
    "manifest cut off": (
        "B01-manifest",
        lambda folder: (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:-20]),
    ),
    "unknown field": ("B01-manifest", lambda folder: edit_manifest(folder, lambda m: m.update(extra=1))),
    "another format": ("B01-manifest", lambda folder: edit_manifest(folder, lambda m: m.update(format=4))),
    "pooling of a later format": (
        "B01-manifest",
        lambda folder: edit_manifest(folder, lambda m: m.update(pooling="lasttoken")),
    ),
    "joined poolings of a later format": (
        "B01-manifest",
        lambda folder: edit_manifest(folder, lambda m: m.update(pooling=["cls", "mean"])),
    ),
    "one pooling in a list": (
        "B01-manifest",
        lambda folder: edit_manifest(folder, lambda m: m.update(format=3, pooling=["mean"])),
    ),
    "number as text": ("B01-manifest", lambda folder: edit_manifest(folder, lambda m: m.update(max_tokens="64"))),
    "label twice": (
        "B01-manifest",
        lambda folder: edit_manifest(folder, lambda m: m["heads"][0]["labels"].__setitem__(0, "weather")),
    ),
    "path that leaves the folder": (
        "B01-manifest",
        lambda folder: edit_manifest(folder, lambda m: m["files"][0].update(path="../model.fp32.onnx")),
    ),
    "head without its output": (
        "B01-manifest",
        lambda folder: edit_manifest(folder, lambda m: m["heads"][0].update(output="logits_other")),
    ),
    "another version": ("B02-place", lambda folder: edit_manifest(folder, lambda m: m.update(version=2))),
    "another name": ("B02-place", lambda folder: edit_manifest(folder, lambda m: m.update(name="other"))),
    "missing file": ("B03-files", lambda folder: (folder / "tokenizer.json").unlink()),
    "extra file": ("B03-files", lambda folder: (folder / "notes.txt").write_text("hello")),
    "extra hidden file": ("B03-files", lambda folder: (folder / ".hidden").write_text("hello")),
    "extra file in a folder": ("B03-files", lambda folder: (folder / "report" / "more.json").write_text("{}")),
    "empty folder": ("B03-files", lambda folder: (folder / "more").mkdir()),
    "symbolic link": ("B04-plain", _symlink),
    "linked version": ("B04-plain", _linked_version),
    "linked folder": ("B04-plain", _linked_folder),
    "hard link": ("B04-plain", _hard_link),
    "folder for a manifest": ("B04-plain", _folder_for_manifest),
    "named pipe": ("B04-plain", lambda folder: os.mkfifo(folder / "pipe")),
    "truncated file": ("B05-bytes", lambda folder: os.truncate(folder / MODEL, 1000)),
    "flipped byte": ("B05-bytes", lambda folder: _flip(folder / MODEL)),
    "flipped byte in the tokenizer": ("B05-bytes", lambda folder: _flip(folder / "tokenizer.json")),
    "flipped byte in the report": ("B05-bytes", lambda folder: _flip(folder / "report" / "confusion.png")),
    "not a graph": ("B06-graph", lambda folder: replace_file(folder, MODEL, b"\xff" * 100)),
    "empty graph": ("B06-graph", lambda folder: replace_file(folder, MODEL, ModelProto().SerializeToString())),
    "external data": ("B06-graph", lambda folder: edit_graph(folder, _external)),
    "external data in a constant": ("B06-graph", lambda folder: edit_graph(folder, _external_constant)),
    "foreign operator": ("B06-graph", lambda folder: edit_graph(folder, _foreign)),
    "renamed input": ("B07-signature", lambda folder: edit_graph(folder, _rename_input)),
    "swapped inputs": ("B07-signature", lambda folder: edit_graph(folder, _swap_inputs)),
    "input of another type": ("B07-signature", lambda folder: edit_graph(folder, _int32_input)),
    "frozen length": ("B07-signature", lambda folder: edit_graph(folder, _frozen)),
    "missing output": ("B07-signature", lambda folder: edit_graph(folder, _drop_output)),
    "not a tokenizer": ("B08-tokenizer", lambda folder: replace_file(folder, "tokenizer.json", b"{}")),
    "tokenizer that pads": (
        "B08-tokenizer",
        lambda folder: edit_json(folder, "tokenizer.json", lambda t: t.update(padding=PADDING)),
    ),
    "tokenizer that truncates": (
        "B08-tokenizer",
        lambda folder: edit_json(folder, "tokenizer.json", lambda t: t.update(truncation=TRUNCATION)),
    ),
    "golden row missing": ("B09-golden-files", _shorten_golden),
    "golden value not finite": ("B09-golden-files", lambda folder: _golden(folder, _poison)),
    "golden output missing": (
        "B09-golden-files",
        lambda folder: _golden(folder, lambda arrays: arrays.pop("logits_intent")),
    ),
    "golden file of another kind": ("B09-golden-files", lambda folder: replace_file(folder, "golden.npz", b"npz")),
    "label order of several labels changed": (
        "B09-golden-files",
        lambda folder: edit_manifest(folder, _several_reversed),
    ),
    "label order changed": ("B09-golden-files", lambda folder: edit_manifest(folder, _reverse_labels)),
}


@pytest.mark.parametrize(("rule", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_broken_rule_is_named(rule: Rule, fault: Fault, tmp_path: Path) -> None:
    folder = copy_of(CLASSIFIER, tmp_path)
    fault(folder)

    with pytest.raises(BundleError) as refusal:
        verify(folder)

    assert refusal.value.rule == rule


def _stale_vocabulary(tokenizer: Json) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["kitchen"], vocabulary["lights"] = vocabulary["lights"], vocabulary["kitchen"]


def _zero_bias(model: ModelProto) -> None:
    bias = next(one for one in model.graph.initializer if one.name.endswith("linear.bias"))
    bias.raw_data = b"\0" * len(bias.raw_data)


def _swap_meaning(model: ModelProto) -> None:
    other = {"input_ids": "attention_mask", "attention_mask": "input_ids"}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = other.get(name, name)


WRONG_ANSWERS: dict[str, Fault] = {
    "shuffled weights": lambda folder: edit_graph(folder, shuffle_weights),
    "stale tokenizer": lambda folder: edit_json(folder, "tokenizer.json", _stale_vocabulary),
    "head without its bias": lambda folder: edit_graph(folder, _zero_bias),
    "mask read as ids": lambda folder: edit_graph(folder, _swap_meaning),
}


@pytest.mark.parametrize("fault", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS.keys())
def test_whole_files_with_other_answers_are_refused_at_load(fault: Fault, tmp_path: Path) -> None:
    """Sizes, digests and signature are right; only running it tells."""
    folder = copy_of(CLASSIFIER, tmp_path)
    fault(folder)
    verify(folder)

    with pytest.raises(BundleError) as refusal:
        load_model(folder, "cpu", lanes=1)

    assert refusal.value.rule == "B10-golden"


def _unknown_operator(model: ModelProto) -> None:
    model.graph.node[0].op_type = "NoSuchOperator"


def test_operator_that_the_runtime_does_not_know_is_refused_at_load(tmp_path: Path) -> None:
    """Its domain is a known one; only the runtime has the list."""
    folder = copy_of(CLASSIFIER, tmp_path)
    edit_graph(folder, _unknown_operator)

    with pytest.raises(BundleError, match="NoSuchOperator") as refusal:
        load_model(folder, "cpu", lanes=1)

    assert refusal.value.rule == "B06-graph"


@pytest.mark.parametrize("text", ["2", "0", "", "one", "1 2", "../1", "9" * 5000])
def test_current_must_name_a_version_that_is_there(text: str, tmp_path: Path) -> None:
    copy_of(ENCODER, tmp_path)
    (tmp_path / ENCODER / "current").write_text(text)

    with pytest.raises(BundleError) as refusal:
        current(tmp_path, ENCODER)

    assert refusal.value.rule == "B11-current"


def test_every_rule_has_a_test() -> None:
    tested = {rule for rule, _fault in FAULTS.values()} | {"B10-golden", "B11-current", "B12-scope"}

    assert tested == set(get_args(Rule))


def test_every_rule_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "bundle-format.md").read_text(encoding="utf-8")

    assert [rule for rule in get_args(Rule) if f"**{rule}**" not in text] == []


@pytest.mark.parametrize("name", [CLASSIFIER, ENCODER])
def test_committed_bundles_keep_every_rule(name: str) -> None:
    load_model(STORE / name / "1", "cpu", lanes=1)

    assert current(STORE, name) == 1
    assert sum(path.stat().st_size for path in (STORE / name).rglob("*") if path.is_file()) < 2**20


@pytest.mark.parametrize("pooling", ["weightedmean", ["cls", "mean"]], ids=["one", "joined"])
def test_poolings_of_format_3_are_read(pooling: object, tmp_path: Path) -> None:
    folder = copy_of(ENCODER, tmp_path)
    edit_manifest(folder, lambda manifest: manifest.update(format=3, pooling=pooling))

    assert open_bundle(folder).manifest.pooling == pooling


def test_manifest_survives_a_round_trip() -> None:
    manifest = verify(STORE / CLASSIFIER / "1").manifest

    assert type(manifest).model_validate_json(manifest.model_dump_json()) == manifest
    assert json.loads(manifest.model_dump_json())["heads"][0]["labels"] == [
        "lights_off",
        "lights_on",
        "play_music",
        "weather",
    ]
