"""The rule of scope that reads vectors: its file, broken, and its place in the manifest."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bundle.errors import BundleError, Rule
from app.bundle.scope import SCOPE_FILE, load_statistics
from app.bundle.verify import verify
from tests.contract.bundles import CLASSIFIER, Json, copy_of, edit_manifest, replace_file

Arrays = Mapping[str, NDArray[Any]]
HIDDEN, LABELS = 32, 4
SOUND = {"whiten_DK": np.eye(HIDDEN, dtype=np.float32), "means_CK": np.zeros((LABELS, HIDDEN), np.float32)}


def scoped(store: Path, arrays: Arrays = SOUND) -> Path:
    """A bundle whose classifier is scored by mahalanobis."""
    folder = copy_of(CLASSIFIER, store)
    (folder / SCOPE_FILE).touch()

    def add(manifest: Json) -> None:
        manifest["format"] = 3
        manifest["heads"][0]["out_of_scope"] = {"score": "mahalanobis", "threshold": -40.5}
        manifest["files"].append({"path": SCOPE_FILE, "role": "scope", "bytes": 0, "sha256": "0" * 64})

    edit_manifest(folder, add)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)  # a hostile writer's
    replace_file(folder, SCOPE_FILE, buffer.getvalue())
    return folder


def test_statistics_are_read(tmp_path: Path) -> None:
    statistics = load_statistics(verify(scoped(tmp_path)))

    assert statistics is not None
    assert statistics.means_CK.shape == (LABELS, HIDDEN)


@pytest.mark.parametrize(
    "arrays",
    [
        {"whiten_DK": SOUND["whiten_DK"]},
        SOUND | {"means_CK": SOUND["means_CK"].astype(np.float64)},
        SOUND | {"means_CK": np.full((LABELS, HIDDEN), np.inf, np.float32)},
        SOUND | {"means_CK": SOUND["means_CK"][:-1]},
        SOUND | {"means_CK": SOUND["means_CK"][:, :-1]},
        SOUND | {"whiten_DK": SOUND["whiten_DK"][:-1]},
        SOUND | {"means_CK": SOUND["means_CK"][0]},
        SOUND | {"whiten_DK": np.array({"a": "pickle"}, dtype=object)},
    ],
    ids=["missing", "doubles", "infinite", "too few labels", "other K", "other D", "a vector", "pickle"],
)
def test_statistics_that_are_none_are_refused(arrays: Arrays, tmp_path: Path) -> None:
    folder = scoped(tmp_path, arrays)

    with pytest.raises(BundleError) as refusal:
        verify(folder)

    assert refusal.value.rule == "B12-scope"


def _with_rule(**rule: object) -> Callable[[Json], None]:
    return lambda manifest: manifest["heads"][0]["out_of_scope"].update(rule)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda manifest: manifest.update(format=2), "came with format 3"),
        (_with_rule(score="energy"), "one file of role scope"),
        (lambda manifest: manifest["files"].pop(), "one file of role scope"),
        (_with_rule(score="max_probability", threshold=1.5), "from 0 to 1, not 1.5"),
        (_with_rule(score="entropy"), "out_of_scope"),
    ],
    ids=["older format", "file that nobody reads", "no file", "impossible threshold", "unknown score"],
)
def test_a_rule_that_does_not_fit_is_refused(change: Callable[[Json], None], reason: str, tmp_path: Path) -> None:
    folder = scoped(tmp_path)
    edit_manifest(folder, change)
    rule: Rule = "B01-manifest"

    with pytest.raises(BundleError, match=reason) as refusal:
        verify(folder)

    assert refusal.value.rule == rule


def test_energy_needs_no_file(tmp_path: Path) -> None:
    folder = copy_of(CLASSIFIER, tmp_path)

    def change(manifest: Json) -> None:
        manifest["format"] = 3
        manifest["heads"][0]["out_of_scope"] = {"score": "energy", "threshold": 3.5}

    edit_manifest(folder, change)

    assert load_statistics(verify(folder)) is None
