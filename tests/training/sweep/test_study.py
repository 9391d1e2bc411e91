"""A sweep tries what its seed says, counts each trial once, and goes on where it was stopped."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from training.errors import RecipeError, TrainingError
from training.progress import Progress
from training.recipe import load_sweep
from training.sweep.process import Outcome
from training.sweep.study import sweep

RECIPE = """
name = "tiny"
[data]
source = "files"
train = "unused.jsonl"
[encoder]
source = "unused"
[head]
task = "classify"
[loss]
name = "cross_entropy"
[budget]
epochs = 4
"""
RANGES = """
trials = {trials}
seed = {seed}
pruner = "{pruner}"
[values]
"optim.lr" = {{ low = 1e-5, high = 1e-2, log = true }}
"budget.batch_size" = [16, 32]
"optim.name" = ["adamw", "lion"]
"budget.patience" = {{ low = 1, high = 3 }}
"""
Trials = Callable[..., str]


class KilledError(BaseException):
    """Stands for `kill -9`: nothing is put in order."""


class Runs:
    """Stands for the processes of trials: the nearer the rate to 1e-3, the better.

    Args:
        end_at: raise `end` in the second epoch of the run of this number, counted from 1.
        fail: the numbers of runs that fail.
    """

    def __init__(self, end_at: int = 0, end: type[BaseException] = KilledError, fail: Sequence[int] = ()) -> None:
        self.settings: list[list[str]] = []
        self._end_at, self._end, self._fail = end_at, end, fail

    def __call__(
        self, recipe: Path, folder: Path, settings: Sequence[str], goes_on: Callable[[int, float], bool]
    ) -> Outcome:
        self.settings.append(list(settings))
        if len(self.settings) in self._fail:
            return Outcome([], False, "the loss is nan")
        rate = float(settings[0].removeprefix("optim.lr="))
        metrics: list[float] = []
        for epoch in range(1, 5):
            if epoch == 2 and len(self.settings) == self._end_at:
                raise self._end
            metrics.append(epoch / 10 - abs(rate - 1e-3))
            if not goes_on(epoch, metrics[-1]):
                return Outcome(metrics, True)
        return Outcome(metrics, False)


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trials:
    """Makes a sweep: `trials(Runs(), name="a", count=5)`."""
    (tmp_path / "tiny.toml").write_text(RECIPE)

    def make(runs: Runs, *, name: str = "a", count: int = 6, seed: int = 7, pruner: str = "none") -> str:
        monkeypatch.setattr("training.sweep.study.run_trial", runs)
        ranges = tmp_path / "ranges.toml"
        ranges.write_text(RANGES.format(trials=count, seed=seed, pruner=pruner))
        progress = Progress(Console(quiet=True))
        return sweep(tmp_path / "tiny.toml", ranges, models=tmp_path / name, progress=progress)

    return make


def test_the_same_seed_gives_the_same_trials(trials: Trials) -> None:
    first, second, third = Runs(), Runs(), Runs()

    tables = [trials(first, name="a"), trials(second, name="b"), trials(third, name="c", seed=8)]

    assert first.settings == second.settings != third.settings
    assert len({tuple(settings) for settings in first.settings}) == 6
    assert tables[0] == tables[1]


@pytest.mark.parametrize("end", [KilledError, KeyboardInterrupt], ids=["killed", "interrupted"])
@pytest.mark.parametrize("end_at", [1, 4])
def test_a_stopped_sweep_goes_on_to_the_same_end(end: type[BaseException], end_at: int, trials: Trials) -> None:
    """The trial that was cut off is tried once more; none counts twice."""
    whole, stopped, resumed, again = Runs(), Runs(end_at, end), Runs(), Runs()
    table = trials(whole, name="whole")

    with pytest.raises(end):
        trials(stopped)

    assert trials(resumed) == table
    assert stopped.settings[:-1] + resumed.settings == whole.settings
    assert trials(again) == table
    assert again.settings == []


def test_more_trials_may_be_asked_of_a_sweep(trials: Trials) -> None:
    whole, first, more = Runs(), Runs(), Runs()
    table = trials(whole, name="whole", count=6)
    trials(first, count=2)

    assert trials(more, count=6) == table
    assert first.settings + more.settings == whole.settings


def test_the_best_settings_come_first_and_ready_to_run(trials: Trials) -> None:
    runs = Runs(fail=[2])

    lines = trials(runs).splitlines()

    assert lines[0].split() == ["dev", "epochs", "optim.lr", "budget.batch_size", "optim.name", "budget.patience"]
    best = min(runs.settings[:1] + runs.settings[2:], key=lambda settings: abs(float(settings[0][9:]) - 1e-3))
    assert lines[6].split()[-1] == "failed"
    assert len(lines) == 9
    assert lines[-1].startswith("python -m training train ")
    assert [f"--set {setting}" in lines[-1].replace("'", "") for setting in best] == [True] * 4


def test_what_is_behind_is_pruned_and_counted(trials: Trials) -> None:
    runs = Runs()

    table = trials(runs, count=20, pruner="median")

    assert 0 < table.count("pruned") < 20
    assert len(runs.settings) == 20


def test_a_sweep_in_which_all_fail_says_why(trials: Trials) -> None:
    with pytest.raises(TrainingError, match="none of 3 trials came to its end; the last: the loss is nan"):
        trials(Runs(fail=range(9)), count=3)


WRONG: dict[str, tuple[str, str]] = {
    "no such key": ('[values]\n"optim.lrr" = [1.0]', "values.optim.lrr = 1.0 does not fit: .*did you mean optim.lr?"),
    "an end out of range": (
        '[values]\n"head.dropout" = { low = 0.0, high = 1.5 }',
        "values.head.dropout = 1.5 does not fit: .*should be less than 1",
    ),
    "upside down": ('[values]\n"optim.lr" = { low = 2.0, high = 1.0 }', "should be less than `high = 1.0`"),
    "no logarithm": (
        '[values]\n"head.dropout" = { low = 0.0, high = 0.5, log = true }',
        "`log = true` and `low = 0.0` disagree",
    ),
    "nothing to try": ("[values]", "values: "),
    "a key of none": ("trails = 3", "trails is not a key; did you mean trials?"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_wrong_ranges_are_named_before_the_first_trial(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    (tmp_path / "ranges.toml").write_text(text)

    with pytest.raises(RecipeError, match=message):
        load_sweep(tmp_path / "ranges.toml", tmp_path / "tiny.toml")
