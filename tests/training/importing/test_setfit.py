"""SetFit models come in once their pickled head is written down as numbers, and answer as scikit-learn does."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier

from app.bundle.manifest import ClassifyHead
from app.bundle.open import open_bundle
from app.bundle.scoring import probabilities, unit
from tests.training.classifiers import TEXTS, Floats, ask, scores_of
from tests.training.families import HIDDEN, module_list, save_family, with_files
from tests.training.tiny import TEXTS as INTENTS
from training.errors import TrainingError
from training.evaluate import predict
from training.importing import Imported, read_source
from training.progress import Progress
from training.recipe.encoder import EncoderTable
from training.run import import_encoder

CLOSE = 1e-5
POOLED = {"embedding_dimension": HIDDEN, "pooling_mode": "mean"}
FIT = {"C": 10.0, "max_iter": 2000}


class SetFitHead(torch.nn.Module):
    """What SetFit's differentiable head has, and computes."""

    def __init__(self, labels: int, *, multitarget: bool) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(HIDDEN, labels)
        torch.nn.init.normal_(self.linear.weight, 0, 2, generator=torch.Generator().manual_seed(3))
        self.temperature, self.eps, self.multitarget = 0.5, 1e-5, multitarget

    def predict_proba(self, vectors_BD: Floats) -> Floats:
        with torch.no_grad():
            logits_BC = self.linear(torch.from_numpy(vectors_BD)) / (self.temperature + self.eps)
        probs_BC: Floats = (logits_BC.sigmoid() if self.multitarget else logits_BC.softmax(dim=1)).numpy()
        return probs_BC


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sentence-transformers, mean pooling."""
    folder = tmp_path_factory.mktemp("setfit")
    files = {"modules.json": module_list("Transformer", "Pooling"), "1_Pooling/config.json": POOLED}
    return with_files(save_family("bert", folder / "bert"), folder / "body", files)


@pytest.fixture(scope="module")
def vectors_ND(body: Path) -> Floats:
    return outputs_of(read(body), INTENTS)["sentence_embedding"]


def read(folder: Path) -> Imported:
    return read_source(EncoderTable(source=str(folder)))


def outputs_of(found: Imported, texts: list[str]) -> Mapping[str, Floats]:
    loaded = found.loaded
    return predict(found.model, loaded.tokenizer, texts, max_tokens=loaded.max_tokens, pad_id=loaded.pad_id)


def save_setfit(body: Path, folder: Path, head: object, **config: object) -> Path:
    """As SetFit saves it: the body, the pickled head, and `config_setfit.json`."""
    files = {"config_setfit.json": {"normalize_embeddings": False, "labels": None, **config}}
    with_files(body, folder, files)
    joblib.dump(head, folder / "model_head.pkl")
    return folder


def snippet(folder: Path) -> str:
    """The program that the refusal shows."""
    with pytest.raises(TrainingError, match="run this in Python where the model comes from") as refused:
        read(folder)
    return str(refused.value).split("\n\n", 1)[1]


def convert(folder: Path) -> Path:
    """In this process, which has just made the pickle: a process of its own takes seconds."""
    exec(compile(snippet(folder), "snippet", "exec"), {})
    return folder


def targets(kinds: int) -> np.ndarray:
    return np.arange(len(INTENTS)) % kinds


def indicators() -> np.ndarray:
    return np.stack([targets(2), targets(3) > 0, targets(5) == 1], axis=1).astype(int)


MakeHead = Callable[[Floats], Any]
Probabilities = Callable[[Any, Floats], Floats]
HEADS: Mapping[str, tuple[MakeHead, Probabilities]] = {
    "three": (
        lambda x: LogisticRegression(**FIT).fit(x, targets(3)),
        lambda head, x: head.predict_proba(x),
    ),
    "two": (lambda x: LogisticRegression(**FIT).fit(x, targets(2)), lambda head, x: head.predict_proba(x)),
    "no intercept": (
        lambda x: LogisticRegression(fit_intercept=False, **FIT).fit(x, targets(3)),
        lambda head, x: head.predict_proba(x),
    ),
    "one vs rest": (
        lambda x: OneVsRestClassifier(LogisticRegression(**FIT)).fit(x, indicators()),
        lambda head, x: head.predict_proba(x),
    ),
    "multi output": (
        lambda x: MultiOutputClassifier(LogisticRegression(**FIT)).fit(x, indicators()),
        lambda head, x: np.stack([probs_B2[:, 1] for probs_B2 in head.predict_proba(x)], axis=1),
    ),
    "differentiable": (lambda x: SetFitHead(3, multitarget=False), lambda head, x: head.predict_proba(x)),
    "differentiable, several": (lambda x: SetFitHead(3, multitarget=True), lambda head, x: head.predict_proba(x)),
}


@pytest.mark.parametrize("normalize", [False, True], ids=["as they are", "normalised"])
@pytest.mark.parametrize("kind", HEADS)
def test_probabilities_are_those_of_the_pickled_head(
    kind: str, normalize: bool, body: Path, vectors_ND: Floats, tmp_path: Path
) -> None:
    make, probabilities_of = HEADS[kind]
    head = make(unit(vectors_ND) if normalize else vectors_ND)
    folder = convert(save_setfit(body, tmp_path / "setfit", head, normalize_embeddings=normalize))

    found = read(folder)

    outputs = outputs_of(found, TEXTS)
    vectors_BD = unit(outputs["sentence_embedding"]) if normalize else outputs["sentence_embedding"]
    got_BC = probabilities(_head(found), outputs["logits_label"])
    want_BC = probabilities_of(head, vectors_BD)
    assert np.abs(got_BC - want_BC).max() < CLOSE
    assert np.ptp(want_BC, axis=0).max() > 0.1  # the texts can be told apart at all


def _head(found: Imported) -> ClassifyHead:
    (head,) = found.heads
    return head


def test_vectors_that_the_body_normalises_are_normalised_for_the_head(
    body: Path, vectors_ND: Floats, tmp_path: Path
) -> None:
    files = {"modules.json": module_list("Transformer", "Pooling", "Normalize")}
    normal = with_files(body, tmp_path / "normal", files)
    head = LogisticRegression(**FIT).fit(unit(vectors_ND), targets(3))

    found = read(convert(save_setfit(normal, tmp_path / "setfit", head)))

    outputs = outputs_of(found, TEXTS)
    want_BC = head.predict_proba(unit(outputs["sentence_embedding"]))
    assert np.abs(probabilities(_head(found), outputs["logits_label"]) - want_BC).max() < CLOSE
    assert found.loaded.normalize


@pytest.mark.parametrize(
    ("classes", "labels", "expected"),
    [
        ([0, 1, 2], ["off", "on", "other"], ["off", "on", "other"]),
        ([2, 0, 1], ["off", "on", "other"], ["off", "on", "other"]),
        (["on", "off", "other"], None, ["off", "on", "other"]),
        ([0, 1, 2], None, ["LABEL_0", "LABEL_1", "LABEL_2"]),
        ([4, 1, 2], ["a", "b", "c", "d", "e"], ["b", "c", "e"]),
    ],
    ids=["by number", "sorted", "by name", "nameless", "some of them"],
)
def test_labels_are_those_of_the_logits(
    classes: list[object],
    labels: list[str] | None,
    expected: list[str],
    body: Path,
    vectors_ND: Floats,
    tmp_path: Path,
) -> None:
    head = LogisticRegression(**FIT).fit(vectors_ND, np.array(classes)[targets(3)])

    found = read(convert(save_setfit(body, tmp_path / "setfit", head, labels=labels)))

    assert _head(found).labels == expected
    assert bool(found.notes) == (expected[0] == "LABEL_0")


def test_temperature_is_the_head_s(body: Path, tmp_path: Path) -> None:
    folder = convert(save_setfit(body, tmp_path / "setfit", SetFitHead(2, multitarget=False)))

    assert _head(read(folder)).temperature == 0.5 + 1e-5


def chain(vectors_ND: Floats) -> object:
    return ClassifierChain(LogisticRegression(**FIT)).fit(vectors_ND, indicators())


def test_chain_of_classifiers_is_refused(body: Path, vectors_ND: Floats, tmp_path: Path) -> None:
    """Each of its parts reads the answers of those before it, so the snippet itself finds rows of other lengths."""
    folder = save_setfit(body, tmp_path / "setfit", chain(vectors_ND))

    with pytest.raises(SystemExit, match="ClassifierChain is no single linear layer"):
        convert(folder)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"kind": "RandomForestClassifier"}, "a RandomForestClassifier, which is no linear layer; known are Logistic"),
        ({"kind": "OneVsRestClassifier", "parts": ["LinearSVC"], "multi_label": True}, "is made of LinearSVC; supp"),
        ({"kind": "OneVsRestClassifier", "parts": ["LogisticRegression"]}, "shares one hundred percent among its"),
        ({"kind": "LogisticRegression", "ways": [["liblinear", "auto"]]}, "with liblinear and auto gives each label"),
        ({"kind": "LogisticRegression", "classes": [0, 1]}, "the head has 3 labels and its model_head.json names 2"),
        ({"kind": "LogisticRegression", "classes": [0, 1, 5]}, "names 3 labels; the head has number 5"),
    ],
    ids=["forest", "svm", "one of many", "liblinear", "labels missing", "number unknown"],
)
def test_heads_that_are_something_else_are_refused(
    facts: Mapping[str, object], message: str, body: Path, tmp_path: Path
) -> None:
    folder = with_files(body, tmp_path / "setfit", {"config_setfit.json": {"labels": ["a", "b", "c"]}})
    save_file({"coef": np.ones((3, HIDDEN)), "intercept": np.zeros(3)}, folder / "model_head.safetensors")
    (folder / "model_head.json").write_text(json.dumps(facts))

    with pytest.raises(TrainingError, match=message):
        read(folder)


def test_head_of_another_body_is_refused(body: Path, tmp_path: Path) -> None:
    folder = with_files(body, tmp_path / "setfit", {"model_head.json": {"kind": "LogisticRegression"}})
    save_file({"coef": np.ones((3, 7)), "intercept": np.zeros(3)}, folder / "model_head.safetensors")

    with pytest.raises(TrainingError, match=f"reads vectors of 7 values; the body gives {HIDDEN}"):
        read(folder)


def test_another_pooling_than_the_body_s_is_refused(body: Path, tmp_path: Path) -> None:
    folder = save_setfit(body, tmp_path / "setfit", SetFitHead(2, multitarget=False))

    with pytest.raises(TrainingError, match="whose head reads its body's own pooling; leave --pooling out"):
        read_source(EncoderTable(source=str(folder), pooling="max"))


def test_head_of_a_hub_id_is_fetched_by_hand(body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = with_files(body, tmp_path / "snapshot", {"config_setfit.json": {}})
    monkeypatch.setattr("training.modeling.source.snapshot_download", lambda name, **_: str(folder))

    with pytest.raises(TrainingError, match="hf download someone/setfit --local-dir FOLDER`, and import FOLDER"):
        read(Path("someone/setfit"))


@pytest.mark.slow
def test_snippet_runs_as_shown_and_the_application_answers_as_scikit_learn(
    body: Path, vectors_ND: Floats, tmp_path: Path, plain_export: None
) -> None:
    head = LogisticRegression(**FIT).fit(vectors_ND, targets(2))
    source = save_setfit(body, tmp_path / "it's setfit", head, labels=["off", "on"])

    subprocess.run([sys.executable, "-c", snippet(source)], check=True, timeout=60)
    folder = import_encoder(str(source), models=tmp_path, progress=Progress(), name="setfit")

    assert load_file(source / "model_head.safetensors")["coef"].shape == (1, HIDDEN)
    described = open_bundle(folder).manifest.heads[0]
    assert isinstance(described, ClassifyHead)
    classified, embedded = ask(folder, {"/classify": {}, "/embed": {"normalize": False}})
    want_BC = head.predict_proba(np.array(embedded["embeddings"], np.float32))
    assert np.abs(scores_of(classified, described) - want_BC).max() < CLOSE
