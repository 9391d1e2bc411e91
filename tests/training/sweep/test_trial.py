"""A trial is a process of its own that trains and says how each epoch does on dev."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.data.make_tiny import make_sources
from tests.training.forks import ROOT
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.progress import Progress
from training.recipe import Recipe
from training.sweep.process import run_trial
from training.sweep.trial import run

RANGES = """
trials = 2
[values]
"optim.lr" = { low = 1e-3, high = 1e-2, log = true }
"""


class Untouchable:
    """A row that nobody may look at."""

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(f"{name} of a test row was read")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `tiny-bert`, `sentences.jsonl` and `tiny.toml`."""
    make_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ranges.toml").write_text(RANGES)
    return tmp_path


def test_no_test_row_is_read(
    here: Path, intents: Splits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def blind(recipe: Recipe, folder: Path, progress: Progress) -> list[Splits]:
        return [replace(intents, test=cast("list[Row]", [Untouchable()]))]

    monkeypatch.setattr("training.sweep.trial.load_heads", blind)

    run(Path("tiny.toml"), here / "run", ["budget.epochs=2", "head.name=label"])

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["metric"] for line in lines] == ["accuracy", "accuracy"]
    assert all(0 <= line["accuracy"] <= 1 for line in lines)


def test_a_recipe_with_nothing_to_train_is_refused(here: Path) -> None:
    Path("plain.toml").write_text('name = "plain"\n[encoder]\nsource = "tiny-bert"\n[head]\ntask = "embed"\n')

    with pytest.raises(TrainingError, match="plain has no \\[data\\] and \\[loss\\]"):
        run(Path("plain.toml"), here / "run", [])


@pytest.fixture
def in_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a process finds the code."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.slow
@pytest.mark.usefixtures("in_repository")
def test_a_trial_that_is_behind_is_ended_and_one_that_fails_says_why(here: Path) -> None:
    pruned = run_trial(here / "tiny.toml", here / "run", ["budget.epochs=500"], lambda epoch, _: epoch < 3)
    failed = run_trial(here / "tiny.toml", here / "run", ["encoder.source=nowhere/at/all"], lambda *_: True)

    assert pruned.was_ended
    assert len(pruned.metrics) < 500
    assert "there is no folder nowhere/at/all" in failed.error
    assert not (here / "run").exists()


def begin(here: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "training", "sweep", "tiny.toml", "ranges.toml", "--models", str(here)]
    settings = ["--set", "budget.epochs=3"]
    return subprocess.Popen([*command, *settings], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(what: Callable[[], bool], *, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.long
@pytest.mark.usefixtures("in_repository")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_is_told_to_end_leaves_no_process_and_goes_on(number: signal.Signals, here: Path) -> None:
    first = begin(here)
    trial = here / "runs" / "tiny-classifier" / "sweep" / "trial-0001"
    wait_for(trial.exists)
    (child,) = children(first.pid)
    first.send_signal(number)
    first.communicate()

    assert first.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    wait_for(lambda: not Path(f"/proc/{child}").exists(), seconds=5)
    table, said = begin(here).communicate()
    assert said.count("trial 1/2: optim.lr=") == 1
    lines = table.splitlines()
    assert lines[0].split() == ["dev", "epochs", "optim.lr"]
    assert len(lines) == 5
    assert lines[-1].startswith("python -m training train tiny.toml --set budget.epochs=3")
    assert {path.name for path in trial.parent.iterdir()} == {".lock", "journal.log"}
