"""How is each tracker told? Each by its own library, which is imported when a run begins, and by its own settings:
MLFLOW_TRACKING_URI, WANDB_MODE, WANDB_PROJECT and so on mean what they always do.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from training.track import Status, Tracker

PROJECT = "encodery"  # where nothing else is set


class TensorBoard:
    """Event files in `tensorboard/` of the run's folder: `tensorboard --logdir models/runs`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tensorboard"
        self._writer: Any = None

    def start(self, name: str, config: Mapping[str, str | float | bool]) -> None:
        """A run that goes on from a checkpoint has a folder for each of its processes."""
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(str(self._folder / datetime.now().strftime("%Y-%m-%d-%H-%M-%S")))
        lines = ["| setting | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in config.items())]
        self._writer.add_text("recipe", "\n".join(lines))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """One scalar each."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def end(self, status: Status, files: Sequence[Path]) -> None:
        """Pictures as pictures, JSON as text."""
        self._writer.add_text("status", status)
        for path in files:
            if path.suffix == ".png":
                picture = import_module("matplotlib.image").imread(path)
                self._writer.add_image(path.stem, picture, dataformats="HWC")
            else:
                self._writer.add_text(path.stem, f"```\n{path.read_text(encoding='utf-8')}\n```")
        self._writer.close()


class MLflow:
    """A run of the experiment that MLFLOW_EXPERIMENT_NAME names."""

    ENDS: Mapping[Status, str] = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}

    def __init__(self, folder: Path) -> None:
        self._mlflow: Any = None

    def start(self, name: str, config: Mapping[str, str | float | bool]) -> None:
        """The recipe as parameters."""
        self._mlflow = import_module("mlflow")
        if "MLFLOW_EXPERIMENT_NAME" not in os.environ:
            self._mlflow.set_experiment(PROJECT)
        self._mlflow.start_run(run_name=name)
        self._mlflow.log_params(dict(config))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """One metric each."""
        self._mlflow.log_metrics(dict(figures), step=step)

    def end(self, status: Status, files: Sequence[Path]) -> None:
        """Files as artifacts."""
        for path in files:
            self._mlflow.log_artifact(str(path), "report")
        self._mlflow.end_run(self.ENDS[status])


class Wandb:
    """A run of the project that WANDB_PROJECT names; its own files go to the run's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run: Any = None

    def start(self, name: str, config: Mapping[str, str | float | bool]) -> None:
        """The recipe as config."""
        wandb = import_module("wandb")
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self._run = wandb.init(project=project, name=name, config=dict(config), dir=str(self._folder))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """All of one step together."""
        self._run.log(dict(figures), step=step)

    def end(self, status: Status, files: Sequence[Path]) -> None:
        """Files beside the run, under report/."""
        for path in files:
            self._run.save(str(path), base_path=str(path.parent.parent), policy="now")
        self._run.finish(exit_code=0 if status == "finished" else 1)


class Trackio:
    """A run of the project `encodery` in trackio's own folder; `trackio show` shows it."""

    def __init__(self, folder: Path) -> None:
        self._trackio: Any = None

    def start(self, name: str, config: Mapping[str, str | float | bool]) -> None:
        """The recipe as config."""
        self._trackio = import_module("trackio")
        self._trackio.init(project=PROJECT, name=name, config=dict(config))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """All of one step together."""
        self._trackio.log(dict(figures), step=step)

    def end(self, status: Status, files: Sequence[Path]) -> None:
        """Files to the project's."""
        for path in files:
            self._trackio.save(str(path), project=PROJECT)
        self._trackio.finish()


TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": Wandb,
    "trackio": Trackio,
}
