"""A student comes to answer as its teacher does, beside any loss and at every size of a vector."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from tests.contract.bundles import CLASSIFIER, STORE
from tests.data.make_tiny import make_sources
from tests.training.tiny import MakeRecipe, bert_config, wordpiece
from training.data import load
from training.data.rows import Splits
from training.errors import TrainingError
from training.evaluate import predict
from training.finetune import build_model, fine_tune
from training.losses.distill import like_logits, like_vectors
from training.modeling import Model, load_encoder
from training.modeling.encoder import load_encoder as load_pretrained
from training.objectives import Objective, make_objective
from training.progress import Progress
from training.recipe import Recipe, load_recipe
from training.recipe.encoder import EncoderTable
from training.recipe.teacher import TeacherTable
from training.teacher import make_teacher

CPU = torch.device("cpu")
BUNDLE = STORE / CLASSIFIER
SCORED = {"source": "files", "train": "unused.jsonl", "columns": {"score": "score"}}


@pytest.fixture(scope="session")
def wide_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with vectors of 48 numbers, where the student's have 32."""
    return write_encoder(tmp_path_factory.mktemp("wide-teacher"), seed=5, hidden_size=48)


@pytest.fixture(scope="session")
def twin_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder like the student, with other weights."""
    return write_encoder(tmp_path_factory.mktemp("twin-teacher"), seed=6, initializer_range=0.2)


def write_encoder(folder: Path, seed: int, **sizes: object) -> Path:
    torch.manual_seed(seed)
    BertModel(bert_config(**sizes)).save_pretrained(folder)
    wordpiece().save(str(folder / "tokenizer.json"))
    return folder


def prepare(recipe: Recipe, splits: Splits) -> tuple[Objective, Model]:
    assert recipe.loss is not None
    loaded = load_encoder(recipe.encoder)
    teacher = make_teacher(recipe.teacher, splits, CPU, Progress())
    objective = make_objective(recipe, recipe.loss, splits, loaded, teacher)
    return objective, build_model(loaded, recipe, splits.labels).eval()


def test_vectors_of_one_width_are_compared_one_by_one() -> None:
    student, teacher = torch.randn(5, 8), torch.randn(5, 8)

    loss = like_vectors(student, 3 * teacher)

    assert float(loss) == pytest.approx(float((2 - 2 * torch.cosine_similarity(student, teacher)).mean()), rel=1e-5)
    assert float(like_vectors(student, 2 * student)) == pytest.approx(0.0, abs=1e-6)


def test_vectors_of_two_widths_are_compared_by_whom_they_are_like() -> None:
    student, teacher = torch.randn(4, 8), torch.randn(4, 6)

    loss = like_vectors(student, teacher)

    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    off = [
        torch.cosine_similarity(student[i], student[j], 0) - torch.cosine_similarity(teacher[i], teacher[j], 0)
        for i, j in pairs
    ]
    assert float(loss) == pytest.approx(float(torch.stack(off).square().mean()), rel=1e-5)
    assert float(like_vectors(student[:1], teacher[:1])) == 0.0


def test_logits_are_compared_by_their_softened_probabilities() -> None:
    student, teacher = torch.randn(3, 4), torch.randn(3, 4)

    loss = like_logits(student, teacher, temperature=2.0)

    wanted, found = (teacher / 2).softmax(dim=1), (student / 2).softmax(dim=1)
    assert float(loss) == pytest.approx(4 * float((wanted * (wanted / found).log()).sum(dim=1).mean()), rel=1e-5)
    assert float(like_logits(student, student + 1, temperature=2.0)) == pytest.approx(0.0, abs=1e-6)


def test_a_teacher_reads_every_text_of_train_once(twin_teacher: Path, pairs: Splits) -> None:
    table = TeacherTable(source=str(twin_teacher))

    teacher = make_teacher(table, pairs, CPU, Progress())

    assert teacher is not None
    texts = list(teacher.places)
    assert set(texts) == {text for row in pairs.train for text in row.texts}
    loaded = load_pretrained(EncoderTable(source=str(twin_teacher)))
    expected = predict(Model(loaded.encoder, {}), loaded.tokenizer, texts, max_tokens=64, pad_id=0)
    assert teacher.answers_NE.dtype == torch.float32
    assert np.allclose(teacher.answers_NE, expected["sentence_embedding"], atol=1e-6)


EMBEDDERS = {
    "in-batch negatives": {"name": "in_batch_negatives"},
    "cached negatives": {"name": "in_batch_negatives", "cached_rows": 3},
    "triplet": {"name": "triplet"},
    "cosent": {"name": "cosent"},
    "cached angle": {"name": "angle", "cached_rows": 3},
}


@pytest.mark.parametrize("cuts", [[], [8]], ids=["whole", "cuts"])
@pytest.mark.parametrize("loss", EMBEDDERS.values(), ids=EMBEDDERS)
def test_a_teacher_stands_beside_every_loss_of_vectors(
    loss: dict[str, object],
    cuts: list[int],
    make_recipe: MakeRecipe,
    calm_encoder: Path,
    twin_teacher: Path,
    pairs: Splits,
    scored: Splits,
) -> None:
    """At half the weight, the loss is the mean of the own one and that of the teacher alone."""
    splits = scored if loss["name"] in ("cosent", "angle") else pairs
    if loss["name"] == "triplet":
        splits = replace(pairs, train=[row for row in pairs.train if row.negative is not None])
    tables: dict[str, object] = {
        "task": "embed",
        "loss": loss,
        "encoder": {"source": str(calm_encoder)},
        "head": {"task": "embed", "cuts": cuts},
        "budget": {"batch_size": 8},
    }
    if splits is scored:
        tables["data"] = SCORED
    losses = []
    for teacher in (None, {"source": str(twin_teacher)}, {"source": str(twin_teacher), "weight": 1.0}):
        objective, model = prepare(make_recipe(**tables, teacher=teacher), splits)
        with torch.no_grad():
            losses.append(objective.loss(model, range(6)).item())
    own, mixed, taught = losses

    assert mixed == pytest.approx((own + taught) / 2, rel=1e-4)
    assert taught > 0.01
    assert taught != pytest.approx(own, rel=1e-3)


@pytest.mark.parametrize("width", [32, 48])
def test_a_student_comes_to_answer_as_its_teacher(
    width: int, make_recipe: MakeRecipe, twin_teacher: Path, wide_teacher: Path, pairs: Splits, tmp_path: Path
) -> None:
    source = twin_teacher if width == 32 else wide_teacher
    teacher = {"source": str(source), "weight": 1.0}
    recipe = make_recipe(task="embed", teacher=teacher, budget={"epochs": 8, "batch_size": 6})
    objective, model = prepare(recipe, pairs)
    rows = range(len(pairs.train))
    with torch.no_grad():
        before = objective.loss(model, rows).item()

    tuned = fine_tune(recipe, pairs, runs=tmp_path, resume=False, progress=Progress())

    epochs = tuned.metrics["epochs"]
    assert isinstance(epochs, list)
    assert epochs[-1]["train_loss"] < before / 2


def test_a_classifier_learns_from_vectors_too(make_recipe: MakeRecipe, twin_teacher: Path, intents: Splits) -> None:
    teacher = {"source": str(twin_teacher), "weight": 1.0}
    objective, model = prepare(make_recipe(teacher=teacher), intents)

    torch.autograd.backward(objective.loss(model, range(6)))

    gradients = {name: parameter.grad is not None for name, parameter in model.named_parameters()}
    assert all(there for name, there in gradients.items() if name.startswith("encoder."))
    assert not any(there for name, there in gradients.items() if name.startswith("heads."))


def test_a_run_does_not_go_on_under_another_teacher(make_recipe: MakeRecipe, pairs: Splits, tmp_path: Path) -> None:
    """The same folder with other weights."""
    recipe = make_recipe(task="embed", teacher={"source": str(tmp_path / "teacher")}, budget={"epochs": 1})
    write_encoder(tmp_path / "teacher", seed=1)
    fine_tune(recipe, pairs, runs=tmp_path / "runs", resume=False, progress=Progress())
    write_encoder(tmp_path / "teacher", seed=2)

    with pytest.raises(TrainingError, match="belongs to another run: teacher was"):
        fine_tune(recipe, pairs, runs=tmp_path / "runs", resume=True, progress=Progress())


def test_what_cannot_teach_is_named(
    make_recipe: MakeRecipe, wide_teacher: Path, pairs: Splits, intents: Splits
) -> None:
    def refusal(splits: Splits, **tables: object) -> str:
        with pytest.raises(TrainingError) as refused:
            prepare(make_recipe(**tables), splits)
        return str(refused.value)

    triplet = {"task": "embed", "loss": {"name": "triplet"}, "budget": {"batch_size": 4, "accumulate": 2}}
    wide = {"source": str(wide_teacher)}
    assert refusal(pairs, teacher=wide, **triplet) == (
        "budget.accumulate = 2 and [teacher] disagree: its vectors have 48 numbers, the student's 32, so the rows of a "
        "whole batch are compared; lower budget.batch_size"
    )
    assert refusal(pairs, task="embed", teacher={"source": "./nowhere"}) == "teacher.source: there is no folder nowhere"
    assert refusal(intents, teacher=wide | {"learns": "logits"}) == (
        f"teacher.source: {wide_teacher} is no bundle; logits are those of a classifier trained here, so name its "
        "folder in models/store"
    )


def test_a_classifier_learns_the_logits_of_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle's labels stand in another order in the student; one that it lacks is named."""
    make_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    changes = [f"teacher.source={BUNDLE}", "teacher.learns=logits"]
    recipe = load_recipe(tmp_path / "tiny.toml", changes)
    splits = load(recipe, tmp_path)
    assert recipe.teacher is not None
    turned = replace(splits, labels=splits.labels[::-1])

    teacher, other = (make_teacher(recipe.teacher, each, CPU, Progress()) for each in (splits, turned))

    assert teacher is not None and other is not None
    assert torch.equal(teacher.answers_NE, other.answers_NE.flip(1))
    right = [splits.labels.index(str(row.label)) for row in splits.train]
    answers = teacher.answers_NE[[teacher.places[row.text] for row in splits.train]]
    assert (answers.argmax(dim=1) == torch.tensor(right)).float().mean() > 0.9
    assert recipe.loss is not None
    loaded = load_encoder(recipe.encoder)
    objective = make_objective(recipe, recipe.loss, splits, loaded, teacher)
    loss = objective.loss(build_model(loaded, recipe, splits.labels), range(8))
    assert loss.isfinite() and loss > 0
    strange = replace(splits, labels=[*splits.labels, "zzz"])
    with pytest.raises(TrainingError, match='they are not the same: "zzz" is in one alone; take learns = "vectors"'):
        make_teacher(recipe.teacher, strange, CPU, Progress())
