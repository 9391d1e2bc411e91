"""`kill -9` at any point of a run, a save included, and a full disk: the resumed run ends in the same bits."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.forks import Forks, Job, Outcome, forks
from tests.training.test_loop import Ran, run, same_parts, same_weights
from tests.training.tiny import MakeRecipe
from training.checkpoint import list_checkpoints
from training.data.rows import Splits
from training.recipe import Recipe

STEPS = 30  # 24 rows in batches of 4, five epochs; a checkpoint after every third step and every epoch
SAVES = (3, 4)  # the third removes the first one; the fourth ends an epoch, with best weights of its own or a link
FEW = 4


@pytest.fixture(scope="module")
def server() -> Iterator[Forks]:
    with forks() as found:
        yield found


class Sweep:
    """Kills runs of one recipe and compares what they end in with a run that was left alone."""

    def __init__(self, server: Forks, recipe: Recipe, splits: Splits, folder: Path) -> None:
        self.server = server
        self.recipe = recipe
        self.splits = splits
        self.folder = folder
        self.whole: Ran = run(recipe, splits, folder / "whole")

    def job(self, name: str, *, step: int = 0, save: int = 0, event: int = 0) -> tuple[Path, Outcome]:
        folder = self.folder / name
        recipe = self.recipe.model_dump_json()
        return folder, self.server.run(Job(recipe, str(folder), step=step, save=save, event=event))

    def check(self, folder: Path) -> None:
        """Resume what is in `folder`: its bits are those of the whole run, and it says where it went on."""
        begins = "going on from" if list_checkpoints(folder) else "no checkpoint in"
        resumed = run(self.recipe, self.splits, folder, resume=True)

        assert any(line.startswith(begins) for line in resumed.lines)
        assert same_weights(self.whole.model, resumed.model)
        assert self.whole.trained == resumed.trained
        assert same_parts(self.folder / "whole", folder)


@pytest.fixture
def sweep(server: Forks, make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> Sweep:
    budget = {"epochs": 5, "batch_size": 4, "checkpoint_steps": 3}
    return Sweep(server, make_recipe(budget=budget), intents, tmp_path)


def random_steps(count: int) -> list[int]:
    return random.Random(11).sample(range(1, STEPS + 1), count)


@pytest.mark.parametrize("count", [pytest.param(FEW, marks=pytest.mark.long), pytest.param(20, marks=pytest.mark.long)])
def test_a_run_killed_at_a_random_step_resumes_to_the_bit(count: int, sweep: Sweep) -> None:
    for step in random_steps(count):
        folder, outcome = sweep.job(f"step-{step}", step=step)

        assert outcome.code == -9
        sweep.check(folder)


@pytest.mark.parametrize("share", [pytest.param(10, marks=pytest.mark.long), pytest.param(1, marks=pytest.mark.long)])
def test_a_run_killed_at_any_event_of_a_save_resumes_to_the_bit(share: int, sweep: Sweep) -> None:
    """Every event, or one in `share`."""
    for save in SAVES:
        _, counted = sweep.job(f"count-{save}", save=save)
        assert counted.code == 0
        assert counted.events > 20
        for event in range(1, counted.events + 1, share):
            folder, outcome = sweep.job(f"save-{save}-{event}", save=save, event=event)

            assert outcome.code == -9
            assert list_checkpoints(folder)  # never a fresh start: the checkpoint before it stands
            sweep.check(folder)


@pytest.mark.long
def test_a_full_disk_is_one_error_and_costs_no_checkpoint(sweep: Sweep) -> None:
    """A file may not grow over 4 KiB: the write fails in the middle, as on a disk without room."""
    folder, _ = sweep.job("full", step=7)
    before = list_checkpoints(folder)

    recipe = sweep.recipe.model_dump_json()
    outcome = sweep.server.run(Job(recipe, str(folder), resume=True, file_bytes=4096))

    assert outcome.code == 0
    assert outcome.error.startswith(f"cannot write a checkpoint to {folder}: ")
    assert "File too large" in outcome.error
    assert list_checkpoints(folder) == before
    assert not list(folder.glob(".step-*"))  # what was written of it makes room again
    sweep.check(folder)
