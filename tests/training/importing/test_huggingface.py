"""Classifiers of transformers come in with their heads and give what transformers gives."""

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from transformers import AutoModel

from app.bundle.manifest import ClassifyHead
from app.bundle.open import open_bundle
from app.bundle.scoring import unit
from tests.training.classifiers import TEXTS, ask, logits_of, save_classifier, scores_of
from tests.training.families import FAMILIES, plain_wordpiece
from training.errors import TrainingError
from training.evaluate import predict
from training.importing import Imported, read_source
from training.progress import Progress
from training.recipe.encoder import EncoderTable
from training.run import import_encoder

CLOSE = 1e-5
LABELS = {0: "off", 1: "on", 2: "other"}


class Lines(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def read(folder: Path) -> Imported:
    return read_source(EncoderTable(source=str(folder)))


def outputs_of(found: Imported) -> dict[str, np.ndarray]:
    loaded = found.loaded
    return predict(found.model, loaded.tokenizer, TEXTS, max_tokens=loaded.max_tokens, pad_id=loaded.pad_id)


def change_config(folder: Path, **changes: object) -> Path:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
    return folder


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """Of three labels."""
    return save_classifier("bert", tmp_path / "bert", LABELS)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    folder = save_classifier(family, tmp_path / family, LABELS)

    found = read(folder)

    (head,) = found.heads
    assert (head.labels, head.problem_type, head.temperature) == (["off", "on", "other"], "single_label", 1.0)
    want_BC = logits_of(folder)
    assert np.abs(outputs_of(found)["logits_label"] - want_BC).max() < CLOSE
    assert np.ptp(want_BC, axis=0).min() > 0.05  # the texts can be told apart at all


def test_mean_of_modernbert_is_what_its_head_reads(tmp_path: Path) -> None:
    folder = save_classifier("modernbert", tmp_path / "mean", LABELS, classifier_pooling="mean")

    found = read(folder)

    assert found.loaded.pooling == "mean"
    assert np.abs(outputs_of(found)["logits_label"] - logits_of(folder)).max() < CLOSE


def test_vector_beside_the_labels_is_the_state_that_the_head_reads(bert: Path) -> None:
    found = read(bert)

    trunk = AutoModel.from_pretrained(bert).eval()
    ids = plain_wordpiece().encode(TEXTS[0]).ids
    with torch.no_grad():
        first_D = trunk(input_ids=torch.tensor([ids])).last_hidden_state[0, 0].numpy()
    assert found.loaded.pooling == "cls"
    assert np.abs(outputs_of(found)["sentence_embedding"][0] - first_D).max() < CLOSE


@pytest.mark.parametrize(
    ("labels", "said", "expected"),
    [
        ({0: "a", 1: "b"}, None, "single_label"),
        ({0: "score"}, None, "regression"),
        ({0: "a", 1: "b"}, "regression", "regression"),
        ({0: "a", 1: "b"}, "multi_label_classification", "multi_label"),
        ({0: "a"}, "multi_label_classification", "multi_label"),
    ],
    ids=["two labels", "one number", "two numbers", "several of two", "one or none"],
)
def test_problem_type_is_the_config_s(labels: dict[int, str], said: str | None, expected: str, tmp_path: Path) -> None:
    folder = save_classifier("bert", tmp_path / "bert", labels, problem_type=said)

    found = read(folder)

    assert (found.heads[0].problem_type, found.heads[0].labels) == (expected, list(labels.values()))
    assert [note for note in found.notes if "problem_type" in note] == (
        [f"{folder}/config.json has no problem_type: {len(labels)} logit{'s' * (len(labels) > 1)} taken for {expected}"]
        if said is None
        else []
    )


def test_another_pooling_than_the_head_s_is_refused(bert: Path) -> None:
    with pytest.raises(TrainingError, match="whose head says what it pools; leave --pooling out"):
        read_source(EncoderTable(source=str(bert), pooling="mean"))


def test_labels_are_in_the_order_of_their_numbers(bert: Path) -> None:
    many = {n: f"label {n}" for n in range(10)} | {10: "k"}
    folder = save_classifier("bert", bert.parent / "many", many)
    change_config(folder, id2label={str(n): many[n] for n in sorted(many, key=str)})

    assert read(folder).heads[0].labels == list(many.values())


def test_labels_without_names_are_kept_and_said(bert: Path) -> None:
    found = read(change_config(bert, id2label=..., label2id=..., num_labels=3))

    assert found.heads[0].labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert f"{bert}/config.json gives its labels no names: they are kept as LABEL_0, LABEL_1, …" in found.notes[0]


REFUSED = {
    "labels of another head": ({"id2label": {"0": "a", "1": "b"}}, "does not load: "),
    "unknown problem": ({"problem_type": "ranking"}, "problem_type 'ranking'; known are single_label_classification"),
    "labels repeat": ({"id2label": {"0": "a", "1": "b", "2": "a"}}, "id2label has 'a' more than once"),
    "labels have a gap": (
        {"id2label": {"0": "a", "1": "b", "3": "c"}},
        "id2label numbers its labels 0, 1, 3; number them from 0 on",
    ),
    "labels are a list": ({"id2label": ["a", "b", "c"]}, "an id2label that is no object of numbers and labels"),
    "another family": (
        {"architectures": ["AlbertForSequenceClassification"]},
        "a AlbertForSequenceClassification, whose head is not known here; known are BertForSequenceClassification, ",
    ),
    "reads pairs, new": (
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"}},
        "is a CrossEncoder of sentence-transformers, which reads pairs",
    ),
    "reads pairs, old": (
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        "is a CrossEncoder of sentence-transformers, which reads pairs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_kept_is_refused_by_name(case: str, bert: Path) -> None:
    changes, message = REFUSED[case]

    with pytest.raises(TrainingError, match=message):
        read(change_config(bert, **cast("dict[str, object]", changes)))


def test_folder_of_a_cross_encoder_is_refused_by_name(tmp_path: Path) -> None:
    """As sentence-transformers itself saves it, with modules that are no encoder's."""
    from sentence_transformers import CrossEncoder

    scores = save_classifier("bert", tmp_path / "bert", {0: "score"})
    CrossEncoder(str(scores), device="cpu").save_pretrained(str(tmp_path / "pairs"))

    with pytest.raises(TrainingError, match="is a CrossEncoder of sentence-transformers, which reads pairs"):
        read(tmp_path / "pairs")


def test_two_labels_that_transformers_did_not_write_down_are_two(tmp_path: Path) -> None:
    folder = save_classifier("bert", tmp_path / "two", {0: "LABEL_0", 1: "LABEL_1"})
    assert "id2label" not in json.loads((folder / "config.json").read_text())

    assert read(folder).heads[0].labels == ["LABEL_0", "LABEL_1"]


def test_one_label_of_one_is_refused(tmp_path: Path) -> None:
    folder = save_classifier("bert", tmp_path / "one", {0: "a"}, problem_type="single_label_classification")

    with pytest.raises(TrainingError, match="one label, which would always have the probability 1"):
        read(folder)


def test_head_without_weights_is_refused(bert: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(bert / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in weights.items() if "pooler" not in name},
        bert / "model.safetensors",
        metadata={"format": "pt"},
    )

    with pytest.raises(TrainingError, match=r"lacks 2 weights of BertForSequenceClassification, such as bert\.pooler"):
        read(bert)


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression"])
def test_application_answers_as_transformers(problem: str, tmp_path: Path, plain_export: None) -> None:
    said = {"regression": problem}.get(problem, f"{problem}_classification")
    source = save_classifier("distilbert", tmp_path / "source", LABELS, problem_type=said)

    folder = import_encoder(str(source), models=tmp_path, progress=Lines())

    logits_BC = logits_of(source).astype(np.float64)
    head = open_bundle(folder).manifest.heads[0]
    assert isinstance(head, ClassifyHead)
    classified, embedded = ask(folder, {"/classify": {}, "/embed": {"normalize": True}})
    assert classified["problem_type"] == problem
    if problem == "regression":
        got_BC = np.array([[answer["value"][label] for label in head.labels] for answer in classified["predictions"]])
        want_BC = logits_BC
    else:
        got_BC = scores_of(classified, head)
        power_BC = np.exp(logits_BC)
        want_BC = power_BC / (power_BC.sum(axis=1, keepdims=True) if problem == "single_label" else 1 + power_BC)
    assert np.abs(got_BC - want_BC).max() < CLOSE
    found = read(source)
    assert np.abs(np.array(embedded["embeddings"]) - unit(outputs_of(found)["sentence_embedding"])).max() < CLOSE
