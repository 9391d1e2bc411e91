"""The loop learns, repeats itself to the bit, resumes to the bit, and stops where it must."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.training.tiny import MakeRecipe
from training.checkpoint import list_checkpoints, load
from training.data.rows import Splits
from training.errors import DivergedError, NotFiniteError, TrainingError
from training.finetune import build_model
from training.loop import Trained, train
from training.modeling import Model, load_encoder
from training.objectives import make_objective
from training.objectives.supervised import Supervised
from training.progress import Bar, Progress
from training.recipe import Recipe
from training.resume import fingerprint


class Stop(Exception):
    """What kills a run in these tests."""


def stop() -> None:
    raise Stop


class QuietProgress(Progress):
    """Keeps the lines; calls `end` after step number `stop_at` of this process."""

    def __init__(self, stop_at: int | None = None, *, end: Callable[[], None] = stop) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.steps = 0
        self.stop_at = stop_at
        self.end = end

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def bar(self, title: str, total: int, *, done: int = 0) -> Iterator[Bar]:
        yield CountingBar(self)


class CountingBar(Bar):
    """Counts into its progress."""

    def __init__(self, progress: QuietProgress) -> None:
        self.progress = progress

    def advance(self, count: int = 1, *, note: str = "") -> None:
        self.progress.steps += count
        if self.progress.steps == self.progress.stop_at:
            self.progress.end()


class Ran(NamedTuple):
    trained: Trained
    model: Model
    lines: list[str]


def run(
    recipe: Recipe,
    splits: Splits,
    folder: Path,
    *,
    resume: bool = False,
    stop_at: int | None = None,
    spoil: bool = False,
    progress: QuietProgress | None = None,
) -> Ran:
    """One run from the recipe's files to a trained model."""
    assert recipe.loss is not None
    loaded = load_encoder(recipe.encoder)
    model = build_model(loaded, recipe, splits.labels)
    if spoil:
        with torch.no_grad():
            next(iter(model.heads.parameters())).fill_(float("inf"))
    objective = make_objective(recipe, recipe.loss, splits, loaded)
    progress = progress or QuietProgress(stop_at)
    prints = fingerprint(recipe, splits, loaded)
    trained = train(model, objective, recipe, folder=folder, fingerprint=prints, resume=resume, progress=progress)
    return Ran(trained, model, progress.lines)


def same_weights(one: Model, other: Model) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == name_2 and torch.equal(tensor, tensor_2) for (name, tensor), (name_2, tensor_2) in pairs)


def test_a_classifier_learns(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    """24 rows in batches of 4 are 6 steps an epoch."""
    ran = run(make_recipe(budget={"epochs": 6, "batch_size": 4}), intents, tmp_path)

    assert ran.trained.best_metric is not None
    assert ran.trained.best_metric >= 0.9
    assert ran.trained.steps == 36
    assert [entry["epoch"] for entry in ran.trained.history] == [1, 2, 3, 4, 5, 6]
    assert not ran.model.training


def test_an_embedder_learns(make_recipe: MakeRecipe, pairs: Splits, tmp_path: Path) -> None:
    ran = run(make_recipe(task="embed"), pairs, tmp_path)

    losses = [entry["train_loss"] for entry in ran.trained.history]
    assert losses[-1] < losses[0]
    assert ran.trained.metric == "mrr"


def test_the_same_seed_gives_the_same_bits(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    first = run(make_recipe(), intents, tmp_path / "a")
    second = run(make_recipe(), intents, tmp_path / "b")

    assert same_weights(first.model, second.model)
    assert first.trained == second.trained


def test_another_seed_gives_other_weights(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    first = run(make_recipe(), intents, tmp_path / "a")
    second = run(make_recipe(seed=8), intents, tmp_path / "b")

    assert not same_weights(first.model, second.model)


@pytest.mark.parametrize(
    ("task", "stop_at"),
    [
        ("classify", 8),
        ("embed", 4),
        *[
            pytest.param(task, step, marks=pytest.mark.slow)
            for task in ("classify", "embed")
            for step in (1, 3, 6, 9, 17)
        ],
    ],
)
def test_a_resumed_run_ends_in_the_bits_of_an_uninterrupted_one(
    task: str, stop_at: int, make_recipe: MakeRecipe, intents: Splits, pairs: Splits, tmp_path: Path
) -> None:
    recipe, splits = make_recipe(task=task), intents if task == "classify" else pairs
    whole = run(recipe, splits, tmp_path / "whole")

    with pytest.raises(Stop):
        run(recipe, splits, tmp_path / "killed", stop_at=stop_at)
    resumed = run(recipe, splits, tmp_path / "killed", resume=True)

    assert same_weights(whole.model, resumed.model)
    assert whole.trained == resumed.trained


def test_a_run_may_be_killed_again_and_again(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    whole = run(make_recipe(), intents, tmp_path / "whole")

    for _ in range(4):
        with pytest.raises(Stop):
            run(make_recipe(), intents, tmp_path / "killed", resume=True, stop_at=5)
    resumed = run(make_recipe(), intents, tmp_path / "killed", resume=True)

    assert same_weights(whole.model, resumed.model)
    assert whole.trained == resumed.trained


def test_resuming_a_finished_run_gives_its_weights_without_a_step(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    whole = run(make_recipe(), intents, tmp_path)

    again = run(make_recipe(), intents, tmp_path, resume=True, stop_at=1)

    assert same_weights(whole.model, again.model)


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_taken(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    whole = run(make_recipe(), intents, tmp_path / "whole")
    with pytest.raises(Stop):
        run(make_recipe(), intents, tmp_path / "killed", stop_at=14)
    newest = list_checkpoints(tmp_path / "killed")[0] / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-8])

    resumed = run(make_recipe(), intents, tmp_path / "killed", resume=True)

    assert "step-00000012 is damaged" in resumed.lines[0]
    assert "going on from step-00000009" in resumed.lines[1]
    assert same_weights(whole.model, resumed.model)


def test_nothing_but_damaged_checkpoints_is_no_silent_fresh_start(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    with pytest.raises(Stop):
        run(make_recipe(), intents, tmp_path, stop_at=8)
    for path in list_checkpoints(tmp_path):
        (path / "state.json").unlink()

    with pytest.raises(TrainingError, match=r"step-00000006 is damaged.*step-00000003 is damaged"):
        run(make_recipe(), intents, tmp_path, resume=True)


def test_another_run_is_refused_by_what_differs(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(make_recipe(), intents, tmp_path, stop_at=8)
    fewer = replace(intents, train=intents.train[:-1])

    with pytest.raises(TrainingError, match=r"recipe optim\.lr was 0\.003, is 0\.002; train rows was"):
        run(make_recipe(optim={"lr": 2e-3, "head_lr_scale": 5.0}), fewer, tmp_path, resume=True)


def test_a_checkpoint_of_another_run_is_said_and_set_aside_for_the_one_before_it(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    whole = run(make_recipe(), intents, tmp_path / "whole")
    for folder, seed in (("killed", 7), ("other", 8)):
        with pytest.raises(Stop):
            run(make_recipe(seed=seed), intents, tmp_path / folder, stop_at=14)
    foreign = tmp_path / "killed" / "step-00000012"
    shutil.rmtree(foreign)
    shutil.copytree(tmp_path / "other" / "step-00000012", foreign)

    resumed = run(make_recipe(), intents, tmp_path / "killed", resume=True)

    assert "step-00000012 belongs to another run: recipe seed was 8, is 7; trying the one before" in resumed.lines[0]
    assert "going on from step-00000009" in resumed.lines[1]
    assert (tmp_path / "killed" / "step-00000012.foreign").is_dir()
    assert same_weights(whole.model, resumed.model)


def test_a_run_goes_on_with_other_exports(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(make_recipe(), intents, tmp_path, stop_at=8)

    resumed = run(make_recipe(export={"int8": False}), intents, tmp_path, resume=True)

    assert resumed.lines[0].startswith("going on from")


def test_a_run_without_resume_starts_from_the_beginning(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    with pytest.raises(Stop):
        run(make_recipe(seed=8), intents, tmp_path / "used", stop_at=14)

    fresh = run(make_recipe(), intents, tmp_path / "used")

    assert "dropped" in fresh.lines[0]
    assert same_weights(fresh.model, run(make_recipe(), intents, tmp_path / "unused").model)


def test_a_loss_that_is_not_finite_names_the_rows_of_its_batch(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    with pytest.raises(NotFiniteError) as caught:
        run(make_recipe(), intents, tmp_path, spoil=True)

    message = str(caught.value)
    assert "epoch 1, step 1" in message
    assert sum(f"{row.where}," in message or f"{row.where}." in message for row in intents.train) == 4
    assert list_checkpoints(tmp_path) == []


def test_the_one_row_that_gives_nan_is_named_alone(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the loss of a line with a broken value would be: whatever batch the row is in, and when it is alone."""
    loss, bad = Supervised.loss, 5

    def spoiled(self: Supervised, model: Model, indices: Sequence[int]) -> torch.Tensor:
        return loss(self, model, indices) * (float("nan") if bad in indices else 1.0)

    monkeypatch.setattr(Supervised, "loss", spoiled)
    with pytest.raises(NotFiniteError) as caught:
        run(make_recipe(), intents, tmp_path)

    assert f"1 of its 4 rows give that alone, too: {intents.train[bad].where}. " in str(caught.value)


def test_a_gradient_that_is_not_finite_is_found_and_its_row_named(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The square root of 0 is 0, and its slope is infinite."""
    loss, bad = Supervised.loss, 5

    def steep(self: Supervised, model: Model, indices: Sequence[int]) -> torch.Tensor:
        nothing = torch.sqrt(0 * next(model.heads.parameters()).square().sum())
        return loss(self, model, indices) + (nothing if bad in indices else 0)

    monkeypatch.setattr(Supervised, "loss", steep)
    with pytest.raises(NotFiniteError, match="the norm of the gradient is") as caught:
        run(make_recipe(), intents, tmp_path)

    assert f"1 of its 4 rows give that alone, too: {intents.train[bad].where}. " in str(caught.value)


def test_a_run_that_diverges_ends_without_a_checkpoint_from_then_on(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 rows in batches of 4; from step 33 on the loss is a hundred times what it was."""
    loss, calls = Supervised.loss, []

    def rising(self: Supervised, model: Model, indices: Sequence[int]) -> torch.Tensor:
        calls.append(indices)
        return loss(self, model, indices) * (1.0 if len(calls) < 33 else 100.0)

    monkeypatch.setattr(Supervised, "loss", rising)
    recipe = make_recipe(budget={"epochs": 20, "batch_size": 4, "checkpoint_steps": 2}, optim={"lr": 1e-4})
    with pytest.raises(DivergedError, match=r"epoch 9, step 52: .* for 20 steps on end.*Lower optim\.lr"):
        run(recipe, intents, tmp_path)

    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000032", "step-00000030"]


def test_a_batch_may_be_taken_in_parts(
    make_recipe: MakeRecipe, intents: Splits, calm_encoder: Path, tmp_path: Path
) -> None:
    """Plain SGD, whose steps follow the gradient: Adam turns the noise of a gradient of 0 into a whole step."""

    def after(accumulate: int) -> Model:
        recipe = make_recipe(
            encoder={"source": str(calm_encoder)},
            head={"task": "classify", "dropout": 0.0},
            optim={"name": "sgd", "lr": 0.03, "head_lr_scale": 1.0},
            budget={"epochs": 2, "batch_size": 5, "accumulate": accumulate},
        )
        return run(recipe, intents, tmp_path / str(accumulate)).model

    whole = after(1)
    for accumulate in (2, 3, 5):
        parts = after(accumulate)
        for name, tensor in whole.state_dict().items():
            torch.testing.assert_close(parts.state_dict()[name], tensor, rtol=0, atol=1e-6, msg=name)


WAYS: dict[str, dict[str, object]] = {
    "sgd": {"optim": {"name": "sgd", "lr": 0.03, "head_lr_scale": 1.0}},
    "adafactor": {"optim": {"name": "adafactor", "lr": 0.01, "head_lr_scale": 1.0}},
    "lion": {"optim": {"name": "lion", "lr": 3e-4}},
    "muon": {"optim": {"name": "muon", "lr": 3e-3, "schedule": "wsd"}},
    "average": {"optim": {"lr": 3e-3, "ema": 0.9, "schedule": "cosine", "layer_decay": 0.8}},
    "checkpointing": {"optim": {"lr": 3e-3}},  # and its encoder, below
    "parts": {"budget": {"epochs": 3, "batch_size": 4, "checkpoint_steps": 3, "accumulate": 2}},
    "bf16": {"hardware": {"precision": "bf16"}},
    "fp16": {"hardware": {"precision": "fp16"}},  # the loop itself takes it on a CPU; a recipe may not ask for it
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_move_resumes_to_the_bit(
    way: str, make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    recipe = make_recipe(**WAYS[way])
    if way == "checkpointing":
        recipe = recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update={"checkpointing": True})})
    whole = run(recipe, intents, tmp_path / "whole")

    with pytest.raises(Stop):
        run(recipe, intents, tmp_path / "killed", stop_at=11)
    resumed = run(recipe, intents, tmp_path / "killed", resume=True)

    losses = [entry["train_loss"] for entry in whole.trained.history]
    assert losses[-1] < losses[0]
    assert same_weights(whole.model, resumed.model)
    assert whole.trained == resumed.trained
    assert same_parts(tmp_path / "whole", tmp_path / "killed")


def same_parts(one: Path, other: Path) -> bool:
    """Whether the newest checkpoints of two runs hold the same bits, but for when they were saved."""
    left, right = load(list_checkpoints(one)[0]), load(list_checkpoints(other)[0])
    same = [
        torch.equal(tensor, right.parts[part][name])
        for part, tensors in left.parts.items()
        for name, tensor in tensors.items()
    ]
    return (left.place, left.rng) == (right.place, right.rng) and left.parts.keys() == right.parts.keys() and all(same)


def test_the_average_is_what_is_judged_and_kept(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    recipe = make_recipe(optim={"lr": 3e-3, "ema": 0.9}, budget={"epochs": 1, "batch_size": 4})

    ran = run(recipe, intents, tmp_path)

    (path,) = list_checkpoints(tmp_path)
    parts = load(path).parts
    assert (path / "best.safetensors").samefile(path / "average.safetensors")
    assert all(torch.equal(tensor, parts["average"][name]) for name, tensor in ran.model.state_dict().items())
    assert not torch.equal(
        parts["average"]["heads.logits_label.linear.weight"], parts["model"]["heads.logits_label.linear.weight"]
    )
    assert recipe.loss is not None
    objective = make_objective(recipe, recipe.loss, intents, load_encoder(recipe.encoder))
    assert objective.score(ran.model)["dev_loss"] == ran.trained.history[0]["dev_loss"]


def test_a_frozen_encoder_stays_as_it_is_and_its_head_learns(
    make_recipe: MakeRecipe, intents: Splits, tiny_encoder: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(encoder={"source": str(tiny_encoder), "freeze": "all"}, optim={"lr": 0.05})

    ran = run(recipe, intents, tmp_path)

    before = load_encoder(make_recipe().encoder).encoder.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in ran.model.encoder.state_dict().items())
    losses = [entry["train_loss"] for entry in ran.trained.history]
    assert losses[-1] < losses[0]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch's compiler imports what torch itself deprecates
def test_a_compiled_encoder_learns_the_same_and_resumes_to_the_bit(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    recipe = make_recipe(hardware={"compile": True})
    whole = run(recipe, intents, tmp_path / "whole")
    with pytest.raises(Stop):
        run(recipe, intents, tmp_path / "killed", stop_at=8)
    resumed = run(recipe, intents, tmp_path / "killed", resume=True)

    assert same_weights(whole.model, resumed.model)
    assert set(whole.model.state_dict()) == set(run(make_recipe(), intents, tmp_path / "plain").model.state_dict())
    assert math.isclose(whole.trained.history[0]["train_loss"], 0.7, abs_tol=0.3)


def test_a_rate_that_blows_up_stops_the_run(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    with pytest.raises(NotFiniteError, match=r"lower optim\.lr"):
        run(make_recipe(optim={"lr": 1e30}), intents, tmp_path)


def test_the_weights_of_the_best_epoch_are_kept_and_patience_ends_the_run(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    """Half the dev labels are wrong, so the surer the model gets the worse its dev loss: an early epoch is the best."""
    flipped = [replace(row, label="switch_on") for row in intents.dev]
    splits = replace(intents, dev=flipped)
    recipe = make_recipe(budget={"epochs": 12, "batch_size": 4, "patience": 2})

    ran = run(recipe, splits, tmp_path)

    history = ran.trained.history
    best = max(history, key=lambda entry: (entry["accuracy"], -entry["dev_loss"]))
    assert ran.trained.best_epoch == best["epoch"]
    assert ran.trained.best_metric == best["accuracy"]
    assert len(history) == ran.trained.best_epoch + 2 < 12
    assert recipe.loss is not None
    objective = make_objective(recipe, recipe.loss, splits, load_encoder(recipe.encoder))
    assert objective.score(ran.model) == {"accuracy": best["accuracy"], "dev_loss": best["dev_loss"]}


def test_an_empty_split_is_refused_before_the_first_step(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="dev split has no rows"):
        run(make_recipe(), replace(intents, dev=[]), tmp_path)


def test_the_last_epoch_can_be_kept_whatever_dev_says(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    """Half the dev labels are wrong, as above: the best of the same epochs is an earlier one."""
    splits = replace(intents, dev=[replace(row, label="switch_on") for row in intents.dev])
    budget = {"epochs": 5, "batch_size": 4}
    best = run(make_recipe(budget=budget), splits, tmp_path / "best")
    last = run(make_recipe(budget={**budget, "choose": "last"}), splits, tmp_path / "last")

    assert best.trained.history == last.trained.history
    assert best.trained.best_epoch < last.trained.best_epoch == 5
    assert last.trained.best_metric == last.trained.history[-1]["accuracy"]
    assert not same_weights(best.model, last.model)


@pytest.mark.parametrize("task", ["classify", "embed"])
def test_without_dev_rows_the_last_epoch_is_kept_and_a_killed_run_resumes_to_the_bit(
    task: str, make_recipe: MakeRecipe, intents: Splits, pairs: Splits, tmp_path: Path
) -> None:
    splits = replace(intents if task == "classify" else pairs, dev=[])
    recipe = make_recipe(task=task, budget={"epochs": 3, "batch_size": 4, "checkpoint_steps": 3, "choose": "last"})
    whole = run(recipe, splits, tmp_path / "whole")

    with pytest.raises(Stop):
        run(recipe, splits, tmp_path / "killed", stop_at=8)
    resumed = run(recipe, splits, tmp_path / "killed", resume=True)

    assert (whole.trained.best_epoch, whole.trained.metric, whole.trained.best_metric) == (3, None, None)
    assert [set(entry) for entry in whole.trained.history] == [{"epoch", "train_loss"}] * 3
    assert same_weights(whole.model, resumed.model)
    assert whole.trained == resumed.trained
