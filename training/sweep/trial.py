"""How good is a recipe on dev?

    python -m training.sweep.trial RECIPE FOLDER [KEY=VALUE]…

trains it and writes one line of JSON for each epoch, the dev metrics in it. It is a process of its own, so that memory
and state of one trial are gone before the next one (frameworks that run all trials in one process leak:
sentence-transformers #3136, #3214). Nothing is judged on test rows, exported or kept. It dies with the process that
started it.
"""

import argparse
import ctypes
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from training.data.rows import Row
from training.errors import StoppedError, TrainingError
from training.finetune import build_model, training_inputs
from training.hardware import pick_device
from training.loop import train
from training.modeling import Model, load_encoder
from training.objectives import Objective, make_objective
from training.progress import Progress
from training.recipe import load_recipe
from training.resume import fingerprint
from training.run import load_heads
from training.teacher import make_teacher

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Told:
    """An objective whose every score is also written to standard output."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.metric = objective.metric
        self.rows: Sequence[Row] = objective.rows
        self.batches = objective.batches
        self.loss = objective.loss

    def score(self, model: Model) -> Mapping[str, float]:
        """The dev metrics of an epoch."""
        scores = self._objective.score(model)
        print(json.dumps({"metric": self.metric, **scores}), flush=True)
        return scores


def run(path: Path, folder: Path, overrides: Sequence[str]) -> None:
    """Train the recipe of `path` as `overrides` have it.

    Raises:
        TrainingError: it cannot be trained, or training went wrong.
    """
    recipe, progress = load_recipe(path, overrides), Progress(Console(quiet=True))
    if recipe.loss is None:
        raise TrainingError(f"{recipe.name} has no [data] and [loss], so there is nothing to try")
    splits, *more = load_heads(recipe, path.parent, progress)
    loaded = load_encoder(recipe.encoder, training_inputs(splits, more), seed=recipe.seed)
    model = build_model(loaded, recipe, splits.labels, more).to(pick_device(recipe.hardware))
    teacher = make_teacher(recipe.teacher, splits, model.device, progress)
    objective = Told(make_objective(recipe, recipe.loss, splits, loaded, teacher, more))
    prints = fingerprint(recipe, splits, loaded, more)
    train(model, objective, recipe, folder=folder, fingerprint=prints, resume=False, progress=progress)


def main() -> int:
    """The exit code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("settings", nargs="*")
    arguments = parser.parse_args()
    try:
        run(arguments.recipe, arguments.folder, arguments.settings)
    except StoppedError as error:
        return error.exit_code
    except TrainingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
