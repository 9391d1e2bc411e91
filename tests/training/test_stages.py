"""Stages run one after the other on one model, and a run killed in any of them ends in the same bits."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression

from tests.training.test_loop import QuietProgress, Stop, run, same_weights
from tests.training.tiny import MakeRecipe
from training.checkpoint import list_checkpoints
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.find_lr import range_test
from training.finetune import build_model, fine_tune
from training.loop import Trained, train
from training.modeling import ClassifierHead, Model, load_encoder
from training.objectives.classification import single_label
from training.objectives.over_vectors import Lookup, over_vectors
from training.objectives.supervised import Supervised
from training.recipe import Recipe
from training.recipe.keys import unknown_keys
from training.resume import fingerprint
from training.stages import plan, train_stages

PAIRS: dict[str, object] = {"loss": {"name": "in_batch_negatives"}, "epochs": 2, "trains": "encoder"}
HEADS: dict[str, object] = {"loss": {"name": "cross_entropy"}, "epochs": 3, "lr": 1e-2, "trains": "heads"}
STEPS_OF_PAIRS = 12  # 24 rows in batches of 4, two epochs
BUDGET = {"batch_size": 4, "checkpoint_steps": 4}


class Staged(NamedTuple):
    trained: list[Trained]
    model: Model
    lines: list[str]


@pytest.fixture
def staged(make_recipe: MakeRecipe) -> Recipe:
    return make_recipe(loss=None, stages=[PAIRS, HEADS], budget=BUDGET)


def run_stages(
    recipe: Recipe, splits: Splits, folder: Path, *, resume: bool = False, stop_at: int | None = None
) -> Staged:
    loaded = load_encoder(recipe.encoder)
    model = build_model(loaded, recipe, splits.labels)
    progress, prints = QuietProgress(stop_at), fingerprint(recipe, splits, loaded)
    stages = plan(recipe, splits, loaded)
    trained = train_stages(model, stages, recipe, folder=folder, fingerprint=prints, resume=resume, progress=progress)
    return Staged(trained, model, progress.lines)


def parts(model: Model) -> tuple[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]]:
    return model.encoder.state_dict(), model.heads.state_dict()


def differs(some: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> bool:
    return any(not torch.equal(tensor, others[name]) for name, tensor in some.items())


def test_one_stage_is_a_run_without_stages_to_the_bit(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    """So is a recipe that has none: the loop of before, in the same folder."""
    plain = run(make_recipe(), intents, tmp_path / "plain")
    none = run_stages(make_recipe(), intents, tmp_path / "none")
    stage = {"loss": {"name": "cross_entropy"}, "epochs": 3}
    one = run_stages(
        make_recipe(loss=None, stages=[stage], budget={"batch_size": 4, "checkpoint_steps": 3}),
        intents,
        tmp_path / "one",
    )

    assert same_weights(plain.model, none.model)
    assert same_weights(plain.model, one.model)
    assert [plain.trained] == none.trained == one.trained
    assert plain.lines == none.lines
    names = [[path.name for path in list_checkpoints(tmp_path / name)] for name in ("plain", "none", "one/stage-1")]
    assert names[0] == names[1] == names[2] != []


def test_each_stage_trains_what_it_says_and_begins_where_the_one_before_ended(
    staged: Recipe, make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    fresh = parts(build_model(load_encoder(staged.encoder), staged, intents.labels))
    head = {**HEADS, "trains": "all", "lr": 1e-9}
    pairs_only = run_stages(make_recipe(loss=None, stages=[PAIRS, head], budget=BUDGET), intents, tmp_path / "pairs")

    ran = run_stages(staged, intents, tmp_path / "both")

    encoder, heads = parts(ran.model)
    assert differs(encoder, fresh[0])
    assert differs(heads, fresh[1])
    after_pairs = parts(pairs_only.model)[0]
    assert all(torch.allclose(tensor, after_pairs[name], atol=1e-6) for name, tensor in encoder.items())
    assert [len(each.history) for each in ran.trained] == [2, 3]
    assert [each.metric for each in ran.trained] == ["nearest_mean_accuracy", "accuracy"]
    assert ran.trained[1].best_metric is not None
    assert ran.trained[1].best_metric > 0.9
    assert all(parameter.requires_grad for parameter in ran.model.parameters())
    assert not ran.model.training
    assert any(line.startswith("stage 1/2, epoch 2/2: train_loss") for line in ran.lines)
    assert "stage 2 of 2: cross_entropy, trains heads" in ran.lines


@pytest.mark.parametrize("stop_at", [5, STEPS_OF_PAIRS, STEPS_OF_PAIRS + 1, STEPS_OF_PAIRS + 9])
def test_a_run_killed_in_any_stage_resumes_to_the_bit(
    stop_at: int, staged: Recipe, intents: Splits, tmp_path: Path
) -> None:
    """In the first stage, at its last step, at the first step of the second and inside of it."""
    whole = run_stages(staged, intents, tmp_path / "whole")

    with pytest.raises(Stop):
        run_stages(staged, intents, tmp_path / "killed", stop_at=stop_at)
    resumed = run_stages(staged, intents, tmp_path / "killed", resume=True)

    assert same_weights(whole.model, resumed.model)
    assert whole.trained == resumed.trained


def test_a_stage_that_is_done_serves_another_stage_after_it(
    staged: Recipe, make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    run_stages(staged, intents, tmp_path)
    other = make_recipe(loss=None, stages=[PAIRS, {**HEADS, "epochs": 5}], budget=BUDGET)
    before = [path.stat().st_mtime_ns for path in list_checkpoints(tmp_path / "stage-1")]

    with pytest.raises(TrainingError, match=r"no checkpoint in .*stage-2 can be used: .*recipe stages was"):
        run_stages(other, intents, tmp_path, resume=True)

    assert [path.stat().st_mtime_ns for path in list_checkpoints(tmp_path / "stage-1")] == before


def test_a_fresh_start_drops_the_checkpoints_of_all_stages(staged: Recipe, intents: Splits, tmp_path: Path) -> None:
    run_stages(staged, intents, tmp_path)
    with pytest.raises(Stop):
        run_stages(staged, intents, tmp_path, stop_at=2)

    assert list_checkpoints(tmp_path / "stage-2") == []


def test_heads_learn_the_same_over_kept_vectors(make_recipe: MakeRecipe, intents: Splits) -> None:
    recipe = make_recipe(head={"task": "classify", "dropout": 0.0})
    loaded = load_encoder(recipe.encoder)
    model = build_model(loaded, recipe, intents.labels).eval()
    objective = plan(recipe, intents, loaded)[0].objective
    assert isinstance(objective, Supervised)

    small, by_number = over_vectors(model, objective)

    assert [name for name, _ in small.named_parameters()] == [
        "heads.logits_label.linear.weight",
        "heads.logits_label.linear.bias",
    ]
    assert small.heads is model.heads
    losses = [one.loss(each, range(9)).item() for one, each in ((objective, model), (by_number, small))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert by_number.score(small) == pytest.approx(dict(objective.score(model)), rel=1e-5)


def test_a_head_over_kept_vectors_is_as_good_as_logistic_regression(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    """Ten rows of each of ten labels, whose clouds of vectors overlap; both are judged on 400 others."""
    draw = np.random.default_rng(5)
    centres_CD = draw.normal(size=(10, 32))
    targets = [number % 10 for number in range(500)]
    vectors_ND = (centres_CD[targets] + 1.8 * draw.normal(size=(500, 32))).astype(np.float32)
    recipe = make_recipe(optim={"lr": 1e-2, "head_lr_scale": 1.0}, budget={"epochs": 60, "choose": "last"})
    assert recipe.loss is not None
    numbers = [[number] for number in range(500)]
    rows = [Row("text", f"train:{number}", label=str(target)) for number, target in enumerate(targets)]
    splits = Splits(rows[:100], rows[100:], [], [str(label) for label in range(10)], {})
    lesson = single_label("logits_label", recipe.loss, splits)
    objective = Supervised(splits.train, numbers[:100], numbers[100:], 0, lesson)
    lookup, head = Lookup(torch.from_numpy(vectors_ND)), ClassifierHead(32, 10, dropout=0.3)
    model = Model(lookup, {"label": head})  # type: ignore[arg-type]  # as in over_vectors

    trained = train(model, objective, recipe, folder=tmp_path, fingerprint={}, resume=False, progress=QuietProgress())

    regression = LogisticRegression(max_iter=1000).fit(vectors_ND[:100], targets[:100])
    other = float(regression.score(vectors_ND[100:], targets[100:]))
    assert 0.5 < other < 0.95
    assert trained.best_metric is not None
    assert trained.best_metric > other - 0.02  # one standard error; over eight draws it is better by 0.01


def test_the_report_has_figures_and_curves_of_each_stage(staged: Recipe, intents: Splits, tmp_path: Path) -> None:
    tuned = fine_tune(staged, intents, runs=tmp_path, resume=False, progress=QuietProgress())

    metrics = json.loads(tuned.report["report/metrics.json"])
    assert [(each["loss"], each["trains"], len(each["epochs"])) for each in metrics["stages"]] == [
        ("in_batch_negatives", "encoder", 2),
        ("cross_entropy", "heads", 3),
    ]
    assert metrics["epochs"] == metrics["stages"][1]["epochs"]
    assert metrics["steps"] == STEPS_OF_PAIRS + 18
    assert metrics["chosen_by"] == "dev accuracy"
    assert {"report/curves.png", "report/curves-stage-1.png"} < set(tuned.report)


def test_stages_train_without_dev_rows(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    recipe = make_recipe(loss=None, stages=[PAIRS, HEADS], budget={**BUDGET, "choose": "last"})

    ran = run_stages(recipe, replace(intents, dev=[]), tmp_path)

    assert [(each.metric, each.best_epoch) for each in ran.trained] == [(None, 2), (None, 3)]


def test_an_embedder_can_have_stages(make_recipe: MakeRecipe, pairs: Splits, tmp_path: Path) -> None:
    stages = [{"loss": {"name": "in_batch_negatives", "scale": scale}, "epochs": 1} for scale in (10.0, 30.0)]
    recipe = make_recipe(task="embed", loss=None, stages=stages, budget=BUDGET)

    ran = run_stages(recipe, pairs, tmp_path)

    assert [each.metric for each in ran.trained] == ["mrr", "mrr"]


def test_the_range_test_is_of_the_first_stage(staged: Recipe, intents: Splits) -> None:
    found = range_test(staged, intents, QuietProgress())

    assert np.isfinite(found.losses).all()


CONFLICTS: dict[str, tuple[dict[str, object], str]] = {
    "loss": ({"loss": {"name": "cross_entropy"}}, "loss and stages disagree: each stage has a loss of its own"),
    "epochs": ({"budget": {"epochs": 9}}, "budget.epochs = 9 and stages disagree: each stage has epochs of its own"),
    "no head": (
        {"stages": [PAIRS]},
        "the last of stages trains no head for classify: its loss should be 'cross_entropy' or 'focal'",
    ),
    "heads by pairs": (
        {"stages": [{**PAIRS, "trains": "heads"}, HEADS]},
        'stages[0]: trains = "heads" and loss.name = "in_batch_negatives" disagree: it learns vectors',
    ),
    "another task": (
        {"stages": [{**PAIRS, "loss": {"name": "triplet"}}, HEADS]},
        "stages[0]: a head for classify trains with loss 'cross_entropy' or 'focal' or 'in_batch_negatives' or",
    ),
    "frozen": (
        {"encoder": {"source": "x", "freeze": "all"}},
        'stages[0]: encoder.freeze = "all" and what this stage trains disagree: nothing would be left to train',
    ),
    "parts": (
        {"budget": {"accumulate": 2}},
        'stages[0]: budget.accumulate = 2 and loss.name = "in_batch_negatives" disagree: a part of a batch has',
    ),
    "muon": (
        {"optim": {"name": "muon"}},
        'stages[1]: trains = "heads" and optim.name = "muon" disagree: muon moves the matrices of the encoder',
    ),
    "teacher": ({"teacher": {"source": "x", "learns": "vectors"}}, "teacher and stages disagree: a teacher is beside"),
    "cached": (
        {"stages": [{**PAIRS, "loss": {"name": "in_batch_negatives", "cached_rows": 4}}, HEADS]},
        "stages[0]: loss.cached_rows = 4 and budget.batch_size = 4 disagree: a batch would be encoded at once",
    ),
    "two rates": (
        {"stages": [{**PAIRS, "lr": 1e-4}, HEADS]},
        "optim.lr = 0.003 and stages disagree: each stage has an lr of its own",
    ),
}


@pytest.mark.parametrize(("tables", "message"), CONFLICTS.values(), ids=CONFLICTS)
def test_settings_of_stages_that_disagree_are_named(
    tables: dict[str, object], message: str, make_recipe: MakeRecipe
) -> None:
    with pytest.raises(ValidationError) as refusal:
        make_recipe(**{"loss": None, "stages": [PAIRS, HEADS], **tables})

    (problem,) = refusal.value.errors()
    assert problem["msg"].startswith(f"Value error, {message}")


def test_an_unknown_key_of_a_stage_is_refused_with_the_nearest() -> None:
    raw = {"name": "x", "stages": [PAIRS, {**HEADS, "epoch": 3}]}

    assert list(unknown_keys(raw)) == ["stages.epoch is not a key; did you mean stages.epochs?"]
