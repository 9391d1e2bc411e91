"""What goes into a bundle beside its fp32 graph, and what is said where it does not."""

import dataclasses
from pathlib import Path

import pytest

from app.bundle.manifest import FORMAT, Agreement, Manifest
from app.bundle.open import open_bundle
from app.bundle.verify import verify
from app.engine.load import load_model
from tests.data.make_tiny import sentences
from training.calibrate import Fitted
from training.data.rows import Counts, Row, Splits
from training.errors import GateError
from training.evaluation.trained import Taught
from training.export.describe import Finished
from training.export.onnx import torchscript
from training.export.publish import publish
from training.export.variants import MAKERS, Maker, Source, Variant
from training.modeling import LoadedEncoder, Model
from training.progress import Progress
from training.recipe import Recipe

INT8 = MAKERS[0]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    monkeypatch.setattr("training.export.variants.MAKERS", (INT8,))
    monkeypatch.setattr("training.export.int8.CALIBRATION_TEXTS", 90)


@pytest.fixture
def encoder(loaded: LoadedEncoder) -> Finished:
    """The tiny encoder as it is, to be imported."""
    recipe = Recipe.model_validate({"name": "tiny", "encoder": {"source": "tiny-bert"}, "head": {"task": "embed"}})
    return Finished(recipe, Model(loaded.encoder, {}).eval(), loaded, [Taught(recipe.head)], {})


def published(finished: Finished, store: Path) -> tuple[Path, Manifest]:
    folder = publish(finished, store, progress=Progress())
    return folder, verify(folder).manifest


def test_an_encoder_gets_an_int8_pair_that_serves(encoder: Finished, tmp_path: Path) -> None:
    folder, manifest = published(encoder, tmp_path)

    model, weights = manifest.model_file("int8", "cpu"), manifest.weights_file("int8")
    assert model is not None
    assert weights is not None
    assert (model.path, weights.path, manifest.format) == ("model.int8.xml", "model.int8.bin", FORMAT)
    agreement = manifest.parity["model.int8.xml"]
    assert isinstance(agreement, Agreement)
    assert agreement.rows == 341
    assert load_model(folder, "cpu", lanes=1, setting="int8").status.precision == "int8"
    card = open_bundle(folder).read(manifest.file("card")).decode()
    assert f"`model.int8.xml` against the fp32 graph over 341 rows: cosine {agreement.mean_cosine:.4f}" in card


def test_a_pair_that_misses_its_gate_is_left_out_and_the_reason_told(
    encoder: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.export.int8_gate.WORST_COSINE", 1.1)
    monkeypatch.setattr("training.export.int8_gate.LEFT_OUT_MOST", 0)

    folder, manifest = published(encoder, tmp_path)

    reason = manifest.training["refused"]
    assert isinstance(reason, dict)
    assert list(reason) == [INT8.name]
    assert reason[INT8.name].startswith("G11-int8: worst cosine 0.9")
    assert [file.path for file in manifest.files if file.precision] == ["model.fp32.onnx"]
    assert "- No int8 for CPUs: G11-int8" in open_bundle(folder).read(manifest.file("card")).decode()


def test_a_library_that_fails_costs_its_variant_alone(
    encoder: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO's own words, without the places in its code that stand before them."""

    def quantize(*_: object, **__: object) -> None:
        raise RuntimeError(
            "Exception from src/inference/src/cpp/core.cpp:97:\nCheck 'unknown.empty()' failed at src/onnx.cpp:7:\n"
            "No conversion rule for com.microsoft.Unheard\nand more"
        )

    monkeypatch.setattr("nncf.quantize", quantize)

    _folder, manifest = published(encoder, tmp_path)

    reason = "OpenVINO does not take the graph: No conversion rule for com.microsoft.Unheard"
    assert manifest.training["refused"] == {INT8.name: reason}
    assert list(manifest.parity) == ["model.fp32.onnx"]


def test_a_recipe_can_do_without(encoder: Finished, tmp_path: Path) -> None:
    table = encoder.recipe.export.model_copy(update={"int8": False})
    recipe = encoder.recipe.model_copy(update={"export": table})

    _folder, manifest = published(dataclasses.replace(encoder, recipe=recipe), tmp_path)

    assert list(manifest.parity) == ["model.fp32.onnx"]
    assert "refused" not in manifest.training


def test_every_maker_has_its_say(encoder: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails does not stop the next."""

    def refuse(source: Source, progress: Progress) -> Variant:
        raise GateError("G99-test", f"{source.finished.recipe.name} is too small")

    makers = (Maker("one", lambda _: True, refuse), Maker("two", lambda _: True, refuse))
    monkeypatch.setattr("training.export.variants.MAKERS", makers)

    _folder, manifest = published(encoder, tmp_path)

    assert manifest.training["refused"] == {
        "one": "G99-test: tiny is too small",
        "two": "G99-test: tiny is too small",
    }


def test_a_classifier_is_judged_on_its_own_rows(
    model: Model, loaded: LoadedEncoder, encoder: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head is not trained: its labels hang on the last bit, so the limits on them are off."""
    monkeypatch.setattr("training.export.int8_gate.LABELS_EQUAL", 0.5)
    monkeypatch.setattr("training.export.int8_gate.METRIC_LOSS", 1.0)
    rows = [Row(text, f"sentences.jsonl:{number}", label=label) for number, (text, label) in enumerate(sentences())]
    counts = dict.fromkeys(("train", "test"), Counts(len(rows), len(rows), 0, 0))
    splits = Splits(rows[:300], [], rows[300:], sorted({str(row.label) for row in rows}), counts)
    recipe = Recipe.model_validate(
        encoder.recipe.model_dump(exclude_none=True)
        | {
            "head": {"task": "classify", "name": "intent"},
            "data": {"source": "files", "train": "sentences.jsonl"},
            "loss": {"name": "cross_entropy"},
        }
    )
    finished = dataclasses.replace(
        encoder, recipe=recipe, model=model, heads=[Taught(recipe.head, splits, Fitted(temperature=2.0))]
    )

    _folder, manifest = published(finished, tmp_path)

    agreement = manifest.parity["model.int8.xml"]
    assert isinstance(agreement, Agreement)
    assert agreement.judged_rows == len(rows)
    assert agreement.labels_equal is not None
    assert agreement.rows == 341 + len(rows[300:])
