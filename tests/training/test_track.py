"""Trackers are told how a run goes, and never end it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.training.tiny import MakeRecipe
from training import trackers
from training.data.rows import Splits
from training.errors import RecipeError, StoppedError, TrainingError
from training.finetune import fine_tune
from training.progress import Progress
from training.recipe import Recipe
from training.track import Status, Tracker, Tracking, check_installed, tracking

Call = tuple[str, Any]


class Recording:
    """Keeps what it is told; `fails` is raised by the call of that name."""

    def __init__(self, fails: Mapping[str, Exception] | None = None) -> None:
        self.calls: list[Call] = []
        self._fails = fails or {}

    def start(self, name: str, config: Mapping[str, str | float | bool]) -> None:
        self._told("start", name, dict(config))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._told("log", step, dict(figures))

    def end(self, status: Status, files: Sequence[Path]) -> None:
        self._told("end", status, [path.name for path in files])

    def _told(self, name: str, *rest: object) -> None:
        self.calls.append((name, rest))
        if name in self._fails:
            raise self._fails[name]


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tracker], None]:
    """Puts a tracker in the place of TensorBoard's."""

    def put(tracker: Tracker) -> None:
        monkeypatch.setattr(trackers, "TRACKERS", {"tensorboard": lambda _folder: tracker})

    return put


def train(recipe: Recipe, splits: Splits, folder: Path, say: Callable[[str], None] = print) -> dict[str, torch.Tensor]:
    """The weights of a run that is tracked as the recipe says."""
    with tracking(recipe, folder, say) as told:
        tuned = fine_tune(recipe, splits, runs=folder, resume=False, progress=Progress(), log=told.log)
        told.judged(tuned.metrics, tuned.report)
    return tuned.model.state_dict()


def test_a_tracker_is_told_the_recipe_the_figures_and_the_end(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path, instead: Callable[[Tracker], None]
) -> None:
    told = Recording()
    instead(told)

    train(make_recipe(track=["tensorboard"]), intents, tmp_path)

    (start, *logs, end) = told.calls
    name, config = start[1]
    assert (start[0], name, config["optim.lr"], config["seed"]) == ("start", "tiny", 3e-3, 7)
    by_step = [(step, sorted(figures)) for _, (step, figures) in logs]
    rates = ["train/loss", "train/lr", "train/rows_per_s"]
    dev = ["dev/accuracy", "dev/dev_loss"]
    assert by_step[:-1] == [(6, dev), (10, rates), (12, dev), (18, dev)]
    assert by_step[-1][0] == 18 and {"test/accuracy", "test/ece_after"} <= set(by_step[-1][1])
    assert end == ("end", ("finished", ["confusion.png", "reliability.png", "metrics.json", "curves.png"]))


def test_no_tracker_is_told_a_text(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path, instead: Callable[[Tracker], None]
) -> None:
    told = Recording()
    instead(told)

    train(make_recipe(track=["tensorboard"]), intents, tmp_path)

    said = json.dumps(told.calls) + (tmp_path / "report" / "metrics.json").read_text()
    assert not any(row.text in said for row in intents.test)
    assert told.calls[-1][1][1].count("mistakes.jsonl") == 0


def test_a_tracker_that_fails_is_said_once_and_changes_no_weight(
    make_recipe: MakeRecipe, intents: Splits, tmp_path: Path, instead: Callable[[Tracker], None]
) -> None:
    failing = Recording({"log": OSError(28, "No space left on device")})
    instead(failing)
    said: list[str] = []

    weights = train(make_recipe(track=["tensorboard"]), intents, tmp_path / "failing", said.append)
    alone = train(make_recipe(), intents, tmp_path / "alone")

    assert said == [
        "tensorboard failed and is told no more of this run, which goes on: OSError: [Errno 28] No space left on device"
    ]
    assert [name for name, _ in failing.calls] == ["start", "log"]
    assert all(torch.equal(weights[name], alone[name]) for name in alone)


@pytest.mark.parametrize(
    ("error", "status"),
    [(TrainingError("x"), "failed"), (StoppedError("x", 143), "stopped"), (KeyboardInterrupt(), "stopped")],
    ids=["failed", "SIGTERM", "interrupted"],
)
def test_the_end_says_what_became_of_the_run(
    error: BaseException,
    status: Status,
    make_recipe: MakeRecipe,
    tmp_path: Path,
    instead: Callable[[Tracker], None],
) -> None:
    told = Recording()
    instead(told)

    with pytest.raises(type(error)), tracking(make_recipe(track=["tensorboard"]), tmp_path, print):
        raise error

    assert told.calls[-1] == ("end", (status, []))


def test_what_does_not_start_ends_the_run_before_it_begins(
    make_recipe: MakeRecipe, tmp_path: Path, instead: Callable[[Tracker], None]
) -> None:
    instead(Recording({"start": PermissionError("no key")}))

    with (
        pytest.raises(TrainingError, match=r'track = \["tensorboard"\]: it does not start: PermissionError: no key'),
        tracking(make_recipe(track=["tensorboard"]), tmp_path, print),
    ):
        pytest.fail("it began")


def test_what_is_not_installed_is_said_with_the_way_to_install_it(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.track.find_spec", lambda name: object() if name == "tensorboard" else None)

    with pytest.raises(RecipeError) as refusal:
        check_installed(make_recipe(track=["tensorboard", "mlflow", "wandb"]))

    assert str(refusal.value) == 'track = ["mlflow", "wandb"] needs what is not installed: pip install mlflow wandb'


def test_event_files_of_tensorboard_have_the_figures(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> None:
    train(make_recipe(track=["tensorboard"]), intents, tmp_path)

    (folder,) = (tmp_path / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert {"train/loss", "train/lr", "dev/accuracy", "test/accuracy"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("dev/accuracy")] == [6, 12, 18]
    assert set(events.Tags()["images"]) == {"confusion", "reliability", "curves"}


class FakeModule:
    """Any function of a library, and what it was called with; each gives the module itself back."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Callable[..., "FakeModule"]:
        def call(*given: object, **named: object) -> "FakeModule":
            self.calls.append((name, (*given, *sorted(named.items()))))
            return self

        return call


FIGURES = {"train/loss": 0.5}
TOLD: dict[str, list[Call]] = {
    "mlflow": [
        ("set_experiment", ("encodery",)),
        ("start_run", (("run_name", "tiny"),)),
        ("log_params", ({"seed": 7},)),
        ("log_metrics", (FIGURES, ("step", 10))),
        ("log_artifact", ("FOLDER/report/metrics.json", "report")),
        ("end_run", ("KILLED",)),
    ],
    "wandb": [
        ("init", (("config", {"seed": 7}), ("dir", "FOLDER"), ("name", "tiny"), ("project", "encodery"))),
        ("log", (FIGURES, ("step", 10))),
        ("save", ("FOLDER/report/metrics.json", ("base_path", "FOLDER"), ("policy", "now"))),
        ("finish", (("exit_code", 1),)),
    ],
    "trackio": [
        ("init", (("config", {"seed": 7}), ("name", "tiny"), ("project", "encodery"))),
        ("log", (FIGURES, ("step", 10))),
        ("save", ("FOLDER/report/metrics.json", ("project", "encodery"))),
        ("finish", ()),
    ],
}


@pytest.mark.parametrize("name", TOLD)
def test_each_library_is_called_as_it_is_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a module that records: they are not installed here. Their own functions were called so once, by hand."""
    module = FakeModule()
    monkeypatch.setattr(trackers, "import_module", lambda _: module)
    for variable in ("MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    tracker = trackers.TRACKERS[name](Path("FOLDER"))

    tracker.start("tiny", {"seed": 7})
    tracker.log(10, FIGURES)
    tracker.end("stopped", [Path("FOLDER/report/metrics.json")])

    assert module.calls == TOLD[name]


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    told = Tracking({}, tmp_path, print)

    told.judged({"steps": 3}, {"report/metrics.json": b"{}"})
    told.end("finished")

    assert list(tmp_path.iterdir()) == []
