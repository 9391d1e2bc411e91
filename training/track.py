"""Who else is told how a run goes?

`track = ["tensorboard"]` in a recipe: TensorBoard, MLflow, Weights & Biases or trackio, all through `Tracker`. What is
asked for and not there ends the run before it begins. A tracker that fails later – the disk, the network – is said once
and told nothing more: training goes on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from training.errors import RecipeError, StoppedError, TrainingError
from training.parallel import is_first
from training.recipe import Recipe
from training.resume import flat

Status = Literal["finished", "failed", "stopped"]
Log = Callable[[int, Mapping[str, float]], None]
LOG_STEPS = 10  # figures of training are told after so many steps


class Tracker(Protocol):
    """Where figures of a run go."""

    def start(self, name: str, config: Mapping[str, str | float | bool]) -> None:
        """A run begins; `config` is its recipe by dotted key."""
        ...

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures after so many steps, such as `train/loss` and `dev/accuracy`."""
        ...

    def end(self, status: Status, files: Sequence[Path]) -> None:
        """The run is over; `files` are those of its report."""
        ...


class Tracking:
    """The trackers of one run, none of which can end it."""

    def __init__(self, trackers: Mapping[str, Tracker], folder: Path, say: Callable[[str], None]) -> None:
        self._trackers = dict(trackers)
        self._folder = folder
        self._say = say
        self._files: list[Path] = []

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Tell every tracker."""
        self._tell(lambda tracker: tracker.log(step, figures))

    def judged(self, metrics: Mapping[str, object], report: Mapping[str, bytes]) -> None:
        """Tell what the test split came to, and keep the files of the report for the end; none of them holds a text."""
        if not self._trackers:
            return
        step = metrics["steps"]
        assert isinstance(step, int)  # of every run
        self.log(step, {f"test/{name}": value for name, value in metrics.items() if isinstance(value, float)})
        for path, data in report.items():
            self._files.append(self._folder / path)
            self._files[-1].parent.mkdir(exist_ok=True)
            self._files[-1].write_bytes(data)

    def end(self, status: Status) -> None:
        """No more will be told."""
        self._tell(lambda tracker: tracker.end(status, self._files))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                what(tracker)
            except Exception as error:  # whatever a tracker raises, hours of training are worth more
                del self._trackers[name]
                self._say(
                    f"{name} failed and is told no more of this run, which goes on: {type(error).__name__}: {error}"
                )


@contextmanager
def tracking(recipe: Recipe, folder: Path, say: Callable[[str], None]) -> Iterator[Tracking]:
    """Start the trackers of a recipe; end them with what became of the run. Their files go to `folder`. Of several
    processes that train, the first tells.

    Raises:
        RecipeError: the package of one is not installed. TrainingError: one does not start.
    """
    check_installed(recipe)
    from training.trackers import TRACKERS

    trackers: dict[str, Tracker] = {name: TRACKERS[name](folder) for name in recipe.track if is_first()}
    config = {
        key: value if isinstance(value, str | int | float) else str(value)
        for key, value in flat(recipe.model_dump(mode="json")).items()
    }
    for name, tracker in trackers.items():
        try:
            tracker.start(recipe.name, config)
        except Exception as error:  # of any of their kinds
            raise TrainingError(f'track = ["{name}"]: it does not start: {type(error).__name__}: {error}') from error
    told = Tracking(trackers, folder, say)
    status: Status = "failed"
    try:
        yield told
        status = "finished"
    except (StoppedError, KeyboardInterrupt):
        status = "stopped"
        raise
    finally:
        told.end(status)


def check_installed(recipe: Recipe) -> None:
    """Raises: RecipeError: packages of trackers are not installed, and how to install them."""
    missing = [name for name in recipe.track if find_spec(name) is None]
    if missing:
        names = ", ".join(f'"{name}"' for name in missing)
        raise RecipeError(f"track = [{names}] needs what is not installed: pip install {' '.join(missing)}")


def no_log(step: int, figures: Mapping[str, float]) -> None:
    """Nobody is told."""
