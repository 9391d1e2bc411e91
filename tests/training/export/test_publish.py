"""From a finished model to a bundle that serves, or to nothing."""

import dataclasses
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from app.bundle.manifest import ClassifyHead, EmbedHead, Manifest, OutOfScope
from app.bundle.store import current
from app.bundle.verify import verify
from app.engine.load import load_model
from tests.data.make_tiny import HIDDEN, sentences
from training.calibrate import Fitted
from training.data.rows import Counts, Row, Splits
from training.errors import GateError
from training.evaluate import predict
from training.evaluation.trained import Taught
from training.export.card import card
from training.export.describe import Finished, heads_of, space, unknown_share, weights_digest
from training.export.exam import make_exam
from training.export.onnx import torchscript
from training.export.publish import publish
from training.modeling import ClassifierHead, LoadedEncoder, Model
from training.progress import Progress
from training.recipe import Recipe

ROWS = [Row(text, f"sentences.jsonl:{number}", label=label) for number, (text, label) in enumerate(sentences())]
FITTED = Fitted(temperature=2.0, out_of_scope=OutOfScope(score="max_probability", threshold=0.5))
LABELS = ["lights_off", "lights_on", "play_music", "weather"]


@pytest.fixture(autouse=True)
def _quickest_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways of exporting have tests of their own, and so have the variants."""
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    monkeypatch.setattr("training.export.variants.MAKERS", ())


@pytest.fixture
def finished(model: Model, loaded: LoadedEncoder) -> Finished:
    recipe = Recipe.model_validate(
        {
            "name": "intents",
            "description": "Tells four things apart.",
            "encoder": {"source": "tiny-bert"},
            "head": {"task": "classify", "name": "intent", "out_of_scope": 0.5},
            "data": {"source": "files", "train": "sentences.jsonl"},
            "loss": {"name": "cross_entropy"},
        }
    )
    counts = {"train": Counts(200, 190, 0, 10), "test": Counts(len(ROWS) - 190, len(ROWS) - 190, 0, 0)}
    splits = Splits(ROWS[:190], [], ROWS[190:], LABELS, counts, {"sentences.jsonl": "ab" * 32}, "Written for the tests")
    metrics: dict[str, object] = {"baselines": {"tfidf_svm": {"accuracy": 0.5}}}
    heads = [Taught(recipe.head, splits, FITTED, metrics)]
    found = Finished(recipe, model, loaded, heads, {"report/metrics.json": b"{}"})
    exam = make_exam(heads_of(found)[0], splits.test)
    assert exam is not None
    metrics["accuracy"] = exam.judge(predict(model, loaded.tokenizer, exam.texts, max_tokens=64, pad_id=0))[0]
    return found


@pytest.fixture
def manifest(finished: Finished, tmp_path: Path) -> Manifest:
    return verify(publish(finished, tmp_path, progress=Progress())).manifest


def test_what_is_published_serves(finished: Finished, tmp_path: Path) -> None:
    folder = publish(finished, tmp_path, progress=Progress())

    load_model(folder, "cpu", lanes=1)
    assert (folder, current(tmp_path, "intents")) == (tmp_path / "intents" / "1", 1)


def test_classifier_comes_first_and_its_vector_second(manifest: Manifest) -> None:
    classifier, embedder = manifest.heads

    assert isinstance(classifier, ClassifyHead)
    assert isinstance(embedder, EmbedHead)
    assert (classifier.name, classifier.labels, classifier.temperature) == ("intent", LABELS, 2.0)
    assert classifier.out_of_scope is not None
    assert classifier.out_of_scope.threshold == 0.5
    assert (embedder.name, embedder.dimensions, embedder.normalize) == ("embedding", HIDDEN, True)


def test_cuts_that_were_trained_stand_in_the_head(finished: Finished) -> None:
    raw = {"name": "v", "encoder": {"source": "tiny-bert"}, "head": {"task": "embed", "cuts": [8, 16]}}
    trained = raw | {"data": {"source": "files", "train": "a.csv"}, "loss": {"name": "in_batch_negatives"}}
    recipe = Recipe.model_validate(trained)
    embedder = dataclasses.replace(finished, recipe=recipe, heads=[Taught(recipe.head)])

    (head,) = heads_of(embedder)

    assert isinstance(head, EmbedHead)
    assert head.cuts == [8, 16]


def test_manifest_has_the_facts_of_the_run(manifest: Manifest, finished: Finished) -> None:
    assert manifest.metrics == finished.metrics
    assert manifest.trunk.sha256 == weights_digest(finished.loaded.encoder.trunk.state_dict())
    assert manifest.fused_ops["model.fp32.onnx"]["Attention"] == 2
    training: dict[str, Any] = manifest.training
    assert training["recipe"]["head"]["out_of_scope"] == {
        "score": "max_probability",
        "false_alarms": 0.05,
        "threshold": 0.5,
    }
    assert training["counts"]["train"] == {
        "rows_in": 200,
        "used": 190,
        "rejected": 0,
        "deduplicated": 10,
        "left_out": 0,
    }
    assert training["data"] == {"sentences.jsonl": "ab" * 32}
    assert {"torch", "transformers", "onnxruntime", "python"} <= set(training["versions"])


def test_reference_describes_the_training_texts(manifest: Manifest) -> None:
    reference: dict[str, Any] = manifest.reference

    assert reference["rows"] == 190
    assert sum(reference["tokens_histogram"].values()) == 190
    assert list(reference["tokens_histogram"]) == ["<=8", "<=16", "<=32", "<=64"]
    assert sum(reference["label_shares"].values()) == pytest.approx(1.0, abs=1e-5)
    assert reference["unknown_token_share"] == 0.0


def test_unknown_tokens_are_counted(loaded: LoadedEncoder) -> None:
    rows = [Row("play 音楽", "1"), Row("play jazz", "2")]

    share = unknown_share(loaded.tokenizer, rows, 64)

    ids = [token for row in rows for token in loaded.tokenizer.encode(row.text).ids]
    assert share == round(ids.count(1) / len(ids), 6) > 0


def test_space_follows_weights_pooling_and_tokenizer_and_nothing_else(manifest: Manifest, finished: Finished) -> None:
    tokenizer = finished.loaded.tokenizer.to_str().encode()
    trunk = manifest.trunk

    assert manifest.space == space(trunk, "mean", tokenizer)
    assert space(trunk.model_copy(update={"source": "elsewhere"}), "mean", tokenizer) == manifest.space
    others = {
        space(trunk.model_copy(update={"sha256": "0" * 64}), "mean", tokenizer),
        space(trunk, "cls", tokenizer),
        space(trunk, "mean → Dense(32, 16, Tanh)", tokenizer),
        space(trunk, "mean", tokenizer + b" "),
    }
    assert len({*others, manifest.space}) == 5


def test_card_says_what_the_manifest_says(manifest: Manifest, finished: Finished) -> None:
    text = card(manifest).decode()

    assert text.startswith("# intents\n\nTells four things apart.\n")
    assert "Written for the tests" in text
    assert f"| Accuracy | {finished.metrics['accuracy']:.4f} | 0.5000 |" in text
    assert "under 0.5 is out of scope" in text


def test_card_has_a_table_for_each_column_of_slices(manifest: Manifest) -> None:
    figures = {"accuracy": 0.75, "macro_f1": 0.5, "intervals": {"accuracy": [0.5, 1.0], "macro_f1": [0.25, 0.75]}}
    slices = {"lang": [{"value": "a|b", "rows": 12, "is_few": True, **figures}]}

    text = card(manifest.model_copy(update={"metrics": {**manifest.metrics, "slices": slices}})).decode()

    assert "## By lang, on the test split\n| lang | rows | Accuracy | Macro-F1 |\n|---|---|---|---|" in text
    assert "| a\\|b | 12 (few) | 0.7500 (0.5000 to 1.0000) | 0.5000 (0.2500 to 0.7500) |" in text


def test_a_model_that_fails_the_gate_publishes_nothing(
    finished: Finished, loaded: LoadedEncoder, tmp_path: Path
) -> None:
    head = ClassifierHead(HIDDEN, 4, 0.0)
    torch.nn.init.constant_(head.linear.weight, float("nan"))
    broken = dataclasses.replace(finished, model=Model(loaded.encoder, {"intent": head}).eval())

    with pytest.raises(GateError, match="G02-finite"):
        publish(broken, tmp_path, progress=Progress())

    assert list(tmp_path.iterdir()) == []


def test_a_report_of_another_model_publishes_nothing(finished: Finished, tmp_path: Path) -> None:
    """The accuracy in the report is not that of the graph."""
    (head,) = finished.heads
    wrong = dataclasses.replace(
        finished, heads=[dataclasses.replace(head, metrics={**head.metrics, "accuracy": 0.999})]
    )

    with pytest.raises(GateError, match="G10-metric"):
        publish(wrong, tmp_path, progress=Progress())

    assert list(tmp_path.iterdir()) == []


def test_a_refused_way_gives_place_to_the_next(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first way freezes the length; the second is published, and the manifest says which it was."""

    def freezing(model: Model, max_tokens: int) -> tuple[onnx.ModelProto, str]:
        proto, _ = torchscript(model, max_tokens)
        for value in proto.graph.input:
            value.type.tensor_type.shape.dim[1].dim_value = 7
        return proto, "freezing"

    monkeypatch.setattr("training.export.onnx.WAYS", (freezing, torchscript))

    manifest = verify(publish(finished, tmp_path, progress=Progress())).manifest

    assert manifest.training["exporter"] == "torchscript + onnxruntime.transformers"
