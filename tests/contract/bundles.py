"""Copies of the committed bundles, and ways to spoil them."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

STORE = Path(__file__).parents[1] / "data" / "store"
CLASSIFIER = "tiny-classifier"
ENCODER = "tiny-encoder"
MODEL = "model.fp32.onnx"

Json = dict[str, Any]


def copy_of(name: str, store: Path) -> Path:
    """A committed bundle in a store of the test's own; returns the folder of version 1."""
    shutil.copytree(STORE / name, store / name)
    return store / name / "1"


def edit_manifest(folder: Path, change: Callable[[Json], object]) -> None:
    """Change `manifest.json` in place."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def replace_file(folder: Path, path: str, data: bytes) -> None:
    """Other bytes, with the manifest's size and sha256 put right: what hashing cannot see."""
    (folder / path).write_bytes(data)

    def put_right(manifest: Json) -> None:
        for file in manifest["files"]:
            if file["path"] == path:
                file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    edit_manifest(folder, put_right)


def edit_graph(folder: Path, change: Callable[[ModelProto], object]) -> None:
    """Change the graph in place, with size and sha256 put right."""
    model = onnx.load_model_from_string((folder / MODEL).read_bytes())
    change(model)
    replace_file(folder, MODEL, model.SerializeToString())


def edit_json(folder: Path, path: str, change: Callable[[Json], object]) -> None:
    """Change a JSON file in place, with size and sha256 put right."""
    value = json.loads((folder / path).read_text(encoding="utf-8"))
    change(value)
    replace_file(folder, path, json.dumps(value).encode())


def shuffle_weights(model: ModelProto) -> None:
    """The rows of the largest tensor in another order: a whole file with valid digests, and another model."""
    tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    values = np.frombuffer(tensor.raw_data, np.float32).reshape(tuple(tensor.dims))
    tensor.raw_data = np.ascontiguousarray(values[::-1]).tobytes()
