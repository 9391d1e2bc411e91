"""Bundles of format 2 with a graph in two files, whole and broken."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.bundle.errors import BundleError, Rule
from app.bundle.manifest import BundleFile, Manifest
from app.bundle.verify import verify
from tests.app.engine.plans import PAIR, with_pair
from tests.contract.bundles import ENCODER, STORE, Json, edit_manifest, replace_file
from tests.contract.writing import new_files
from training.export.bundle import write_bundle

GRAPH, WEIGHTS = PAIR
Fault = Callable[[Path], object]


def test_a_pair_is_found_by_precision_and_device(tmp_path: Path) -> None:
    manifest = verify(with_pair(tmp_path)).manifest

    model, weights = manifest.model_file("int8", "cpu"), manifest.weights_file("int8")
    assert model is not None
    assert weights is not None
    assert (manifest.format, model.path, weights.path) == (2, GRAPH, WEIGHTS)
    assert manifest.model_file("int8", "cuda") is None
    assert manifest.model_file("int8") is None
    assert manifest.weights_file("fp32") is None


def test_a_bundle_of_format_1_is_still_read() -> None:
    manifest = verify(STORE / ENCODER / "1").manifest

    assert (manifest.format, manifest.weights_file("int8")) == (1, None)


def test_a_pair_is_written_as_it_was_read(tmp_path: Path) -> None:
    source = verify(with_pair(tmp_path / "from"))

    def describe(version: int, files: list[BundleFile]) -> Manifest:
        return source.manifest.model_copy(update={"version": version, "files": files})

    folder = write_bundle(tmp_path / "to", ENCODER, new_files(source), describe)

    assert verify(folder).manifest == source.manifest


def _entry(path: str, change: Callable[[Json], object]) -> Fault:
    """Change what the manifest says of one file."""

    def edit(manifest: Json) -> None:
        change(next(file for file in manifest["files"] if file["path"] == path))

    return lambda folder: edit_manifest(folder, edit)


def _drop(path: str) -> Fault:
    def drop(folder: Path) -> None:
        (folder / path).unlink()
        edit_manifest(folder, lambda m: m.update(files=[file for file in m["files"] if file["path"] != path]))

    return drop


def _in_graph(old: bytes, new: bytes) -> Fault:
    def edit(folder: Path) -> None:
        data = (folder / GRAPH).read_bytes()
        assert old in data
        replace_file(folder, GRAPH, data.replace(old, new, 1))

    return edit


FAULTS: dict[str, tuple[Rule, Fault]] = {
    "graph without weights": ("B01-manifest", _drop(WEIGHTS)),
    "weights without a graph": ("B01-manifest", _drop(GRAPH)),
    "weights of another precision": ("B01-manifest", _entry(WEIGHTS, lambda file: file.update(precision="fp16"))),
    "weights for another device": ("B01-manifest", _entry(WEIGHTS, lambda file: file.update(device="cuda"))),
    "weights without a precision": ("B01-manifest", _entry(WEIGHTS, lambda file: file.update(precision=None))),
    "pair in format 1": ("B01-manifest", lambda folder: edit_manifest(folder, lambda m: m.update(format=1))),
    "weights gone": ("B03-files", lambda folder: (folder / WEIGHTS).unlink()),
    "weights cut off": ("B05-bytes", lambda folder: os.truncate(folder / WEIGHTS, 1000)),
    "fewer weights than the graph has": ("B06-graph", lambda folder: replace_file(folder, WEIGHTS, b"\0" * 1000)),
    "not a graph": ("B06-graph", lambda folder: replace_file(folder, GRAPH, b"\xff" * 100)),
    "foreign operator": ("B06-graph", _in_graph(b'version="opset1"', b'version="custom"')),
    "renamed input": ("B07-signature", _in_graph(b'names="input_ids"', b'names="ids"')),
    "frozen length": ("B07-signature", _in_graph(b'shape="?,?"', b'shape="?,7"')),
}


@pytest.mark.parametrize(("rule", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_broken_rule_is_named(rule: Rule, fault: Fault, tmp_path: Path) -> None:
    folder = with_pair(tmp_path)
    fault(folder)

    with pytest.raises(BundleError) as refusal:
        verify(folder)

    assert refusal.value.rule == rule
