"""Which stages does a run go through, and in which state does it go from one to the next?

Each stage is trained by the loop in a folder of its own inside the run's, `stage-1` and so on, and begins with the
weights its forerunner kept. A stage that is done is not trained again by a resumed run: its checkpoint gives the
weights it ended in. So a run killed anywhere, between two stages as inside one, ends in the bits of one that was not. A
checkpoint belongs to the stages up to its own and to the weights its stage began with: what comes later may change. A
run without stages is one stage, in the run's own folder.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from training.checkpoint import run_lock
from training.data.rows import Splits
from training.errors import TrainingError
from training.loop import Trained, train
from training.modeling import LoadedEncoder, Model
from training.objectives import Objective, make_objective
from training.objectives.over_vectors import over_vectors
from training.objectives.supervised import Supervised
from training.objectives.teacher import Teacher
from training.parallel import by_first, is_first
from training.progress import Progress
from training.recipe import Recipe
from training.recipe.losses import LossTable
from training.recipe.stages import Trains, stage_recipe
from training.resume import start_afresh
from training.track import Log, no_log


@dataclass(frozen=True, slots=True)
class Stage:
    """`recipe` is that of a run which does this stage alone; `number` counts from 1 of `count`, 0 of a run that has no
    stages.
    """

    recipe: Recipe
    loss: LossTable
    objective: Objective
    trains: Trains = "all"
    number: int = 0
    count: int = 0

    @property
    def title(self) -> str:
        """What stands before an epoch's title."""
        return f"stage {self.number}/{self.count}, " if self.number else ""

    def folder(self, runs: Path) -> Path:
        """Where its checkpoints are."""
        return runs / f"stage-{self.number}" if self.number else runs


def plan(
    recipe: Recipe,
    splits: Splits,
    loaded: LoadedEncoder,
    teacher: Teacher | None = None,
    more: Sequence[Splits] = (),
) -> list[Stage]:
    """The stages of a recipe, in order, each with its tokenised rows; only a run without stages has a teacher, or
    several heads, of which `more` are the data.

    Raises:
        TrainingError: the recipe trains nothing, or a stage cannot learn from these rows.
    """
    if not recipe.stages:
        if recipe.loss is None:
            raise TrainingError(f"recipe {recipe.name} has no [loss] and no [[stages]]: there is nothing to train")
        return [Stage(recipe, recipe.loss, make_objective(recipe, recipe.loss, splits, loaded, teacher, more))]
    stages = []
    for number, table in enumerate(recipe.stages, start=1):
        own = stage_recipe(recipe, table)
        objective = make_objective(own, table.loss, splits, loaded)
        stages.append(Stage(own, table.loss, objective, table.trains, number, len(recipe.stages)))
    return stages


def last_run(recipe: Recipe, runs: Path) -> tuple[Recipe, Path]:
    """The recipe and the folder of what a run does last."""
    if not recipe.stages:
        return recipe, runs
    return stage_recipe(recipe, recipe.stages[-1]), runs / f"stage-{len(recipe.stages)}"


def train_stages(
    model: Model,
    stages: Sequence[Stage],
    recipe: Recipe,
    *,
    folder: Path,
    fingerprint: Mapping[str, str],
    resume: bool,
    progress: Progress,
    log: Log = no_log,
) -> list[Trained]:
    """Train `model` in place through all `stages` of `recipe`, and leave it in evaluation mode; what each came to.

    `log` counts the steps of all stages on; the figures of each stand under `stage-1/` and so on.

    Raises:
        TrainingError: as `loop.train`.
    """
    done: list[Trained] = []
    with run_lock(folder) if recipe.stages and is_first() else nullcontext():  # a stage has a lock of its own
        if recipe.stages and not resume:  # an earlier run's later stages would be taken for this one's
            for path in (folder, *sorted(folder.glob("stage-*"))):
                by_first(partial(start_afresh, path, progress))
        for stage in stages:
            if stage.number:
                progress.say(f"stage {stage.number} of {stage.count}: {stage.loss.name}, trains {stage.trains}")
            prints = {**fingerprint, **_stage_prints(recipe, stage, model)}
            with only(stage, model, progress) as (moving, objective):
                trained = train(
                    moving,
                    objective,
                    stage.recipe,
                    folder=stage.folder(folder),
                    fingerprint=prints,
                    resume=resume,
                    progress=progress,
                    title=stage.title,
                    log=_log_of(stage, sum(each.steps for each in done), log),
                )
            done.append(trained)
    model.eval()
    return done


def _log_of(stage: Stage, steps_before: int, log: Log) -> Log:
    if not stage.number:
        return log

    def told(step: int, figures: Mapping[str, float]) -> None:
        log(steps_before + step, {f"stage-{stage.number}/{name}": value for name, value in figures.items()})

    return told


@contextmanager
def only(stage: Stage, model: Model, progress: Progress) -> Iterator[tuple[Model, Objective]]:
    """While this lasts, nothing trains but what the stage says; gives the model and the objective to train it by."""
    if stage.trains == "heads":
        assert isinstance(stage.objective, Supervised)  # heads have no other loss: the recipe's own check
        with progress.step(f"{stage.title}vectors of the encoder"):
            small = over_vectors(model, stage.objective)
        yield small
        return
    heads = list(model.heads.parameters()) if stage.trains == "encoder" else []
    for parameter in heads:
        parameter.requires_grad_(False)
    try:
        yield model, stage.objective
    finally:
        for parameter in heads:
            parameter.requires_grad_(True)


def _stage_prints(recipe: Recipe, stage: Stage, model: nn.Module) -> dict[str, str]:
    """What the weights of a stage come from, beside all that those of the run do."""
    if not stage.number:
        return {}
    so_far = [table.model_dump(mode="json") for table in recipe.stages[: stage.number]]
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return {"recipe stages": json.dumps(so_far), "weights before the stage": digest.hexdigest()[:16]}
