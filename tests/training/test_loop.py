"""The loop learns, repeats itself to the bit, resumes to the bit, and stops where it must."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.training.tiny import MakeRecipe
from training.checkpoint import list_checkpoints
from training.data.rows import Splits
from training.errors import NotFiniteError, TrainingError
from training.finetune import build_model
from training.loop import Trained, train
from training.modeling import Model, load_encoder
from training.objectives import make_objective
from training.progress import Bar, Progress
from training.recipe import Recipe
from training.resume import fingerprint


class Stop(Exception):
    """What kills a run in these tests."""


class QuietProgress(Progress):
    """Keeps the lines; raises `Stop` after step number `stop_at` of this process."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.steps = 0
        self.stop_at = stop_at

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
            raise Stop


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
) -> Ran:
    """One run from the recipe's files to a trained model."""
    assert recipe.loss is not None
    loaded = load_encoder(recipe.encoder)
    model = build_model(loaded, recipe, splits.labels)
    if spoil:
        with torch.no_grad():
            next(iter(model.heads.parameters())).fill_(float("inf"))
    objective = make_objective(recipe, recipe.loss, splits, loaded)
    progress = QuietProgress(stop_at)
    prints = fingerprint(recipe, splits, loaded)
    trained = train(model, objective, recipe, folder=folder, fingerprint=prints, resume=resume, progress=progress)
    return Ran(trained, model, progress.lines)


def same_weights(one: Model, other: Model) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == name_2 and torch.equal(tensor, tensor_2) for (name, tensor), (name_2, tensor_2) in pairs)


def test_a_classifier_learns(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    """24 rows in batches of 4 are 6 steps an epoch."""
    ran = run(make_recipe(budget={"epochs": 6, "batch_size": 4}), intents, tmp_path)

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

    with pytest.raises(TrainingError, match=r"all checkpoints .* are damaged"):
        run(make_recipe(), intents, tmp_path, resume=True)


def test_another_run_is_refused_by_what_differs(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(make_recipe(), intents, tmp_path, stop_at=8)
    fewer = replace(intents, train=intents.train[:-1])

    with pytest.raises(TrainingError, match=r"recipe optim\.lr was 0\.003, is 0\.002; train rows was"):
        run(make_recipe(optim={"lr": 2e-3, "head_lr_scale": 5.0}), fewer, tmp_path, resume=True)


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


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from tests.training.test_loop import QuietProgress, run
from tests.training.tiny import intent_splits
from training.recipe import Recipe

folder, event, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
seen = 0

def kill(name, arguments):
    global seen
    if name == event and str(folder) in str(arguments[0]):
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
sys.addaudithook(kill)
run(Recipe.model_validate_json((folder.parent / "recipe.json").read_text()), intent_splits(), folder)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "number"), [("os.rename", 3), ("shutil.rmtree", 2), ("open", 12)], ids=["rename", "prune", "write"]
)
def test_a_run_killed_by_the_system_inside_a_save_goes_on(
    event: str, number: int, make_recipe: MakeRecipe, intents: Splits, tmp_path: Path
) -> None:
    recipe = make_recipe()
    whole = run(recipe, intents, tmp_path / "whole")
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())

    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), event, str(number)]
    killed = subprocess.run(arguments, cwd=Path(__file__).parents[2], capture_output=True, check=False)
    resumed = run(recipe, intents, tmp_path / "killed", resume=True)

    assert killed.returncode == -9, killed.stderr.decode()
    assert "going on from" in " ".join(resumed.lines)
    assert same_weights(whole.model, resumed.model)
    assert whole.trained == resumed.trained
