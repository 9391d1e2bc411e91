"""Which learning rate suits a recipe?

The range test (arXiv:1506.01186 section 3.3): the rate grows from step to step by the same factor while the loss is
watched. The suggestion is the rate at which the smoothed loss falls fastest: high enough to learn quickly, and well
under the rate where the loss is lowest, from which on it only goes up. Nothing is kept: weights are thrown away,
checkpoints are not touched. N points.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from training.checkpoint import Place
from training.data.rows import Splits
from training.errors import NotFiniteError, TrainingError
from training.finetune import build_model, training_inputs
from training.hardware import made_ready, make_scaler, pick_device
from training.modeling import load_encoder
from training.modeling.depth import train_mode
from training.modeling.model import Model
from training.objectives import Objective
from training.optim import make_stepper
from training.progress import Progress
from training.recipe import Recipe, load_recipe
from training.rng import seed_all
from training.run import load_heads
from training.stages import only, plan
from training.step import move_once
from training.teacher import make_teacher

LOWEST, HIGHEST = 1e-7, 1.0
STEPS = 100
AROUND = 5  # steps on either side that a smoothed loss is the mean of; looking back alone would shift the fall fourfold
BLOWN_UP = 3.0  # times the lowest mean of AROUND steps: higher rates tell nothing more
LEAST_POINTS = 20
PICTURE = "find-lr.png"


@dataclass(frozen=True, slots=True)
class RangeTest:
    """`losses[i]` is the smoothed loss at `rates[i]`, which grow; `suggested` and `lowest` are among the rates."""

    rates: list[float]
    losses: list[float]
    suggested: float
    lowest: float  # the rate with the lowest loss

    def __str__(self) -> str:
        return (
            f"optim.lr = {self.suggested:.1e}: the loss falls fastest there; it is lowest at {self.lowest:.1e}, "
            "which is already too high"
        )


def find_lr(path: Path, *, models: Path, progress: Progress, overrides: list[str]) -> tuple[RangeTest, Path]:
    """The range test of the recipe in `path`, and its picture in the folder of its runs.

    Raises:
        TrainingError: the recipe has nothing to train, its data have faults, or the loss falls at no rate.
    """
    recipe = load_recipe(path, overrides)
    if recipe.data is None:
        raise TrainingError(f"{recipe.name} has no [data] and [loss], so there is no rate to find")
    if recipe.stages:
        progress.say(f"the rate is that of the first of {len(recipe.stages)} stages: stages[0].lr")
    splits, *more = load_heads(recipe, path.parent, progress)
    found = range_test(recipe, splits, progress, more)
    picture = models / "runs" / recipe.name / PICTURE
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(draw(found))
    return found, picture


def range_test(recipe: Recipe, splits: Splits, progress: Progress, more: Sequence[Splits] = ()) -> RangeTest:
    """Train a fresh model over growing rates, by the first of its stages; `more` are the data of its `more_heads`.

    Raises:
        TrainingError: the loss falls at no rate.
    """
    loaded = load_encoder(recipe.encoder, training_inputs(splits, more), seed=recipe.seed)
    model = build_model(loaded, recipe, splits.labels, more).to(pick_device(recipe.hardware))
    teacher = make_teacher(recipe.teacher, splits, model.device, progress)
    stage = plan(recipe, splits, loaded, teacher, more)[0]
    seed_all(recipe.seed)
    with only(stage, model, progress) as (moving, objective), made_ready(moving, stage.recipe, model.device):
        rates, losses = _follow(moving, objective, stage.recipe, progress)
    return judge(rates, smooth(losses))


def smooth(losses: list[float]) -> list[float]:
    """The mean of each loss and its neighbours."""
    return [float(np.mean(losses[max(0, place - AROUND) : place + AROUND + 1])) for place in range(len(losses))]


def judge(rates: list[float], losses: list[float]) -> RangeTest:
    """What the smoothed losses say.

    Raises:
        TrainingError: the loss falls at no rate, or there are too few steps to see it.
    """
    lowest = int(np.argmin(losses)) if losses else 0
    if lowest < 2:
        raise TrainingError(
            f"the loss falls at no rate between {LOWEST:.0e} and {HIGHEST:.0e}; look at the data and the loss first"
        )
    slopes_N = np.gradient(np.array(losses[: lowest + 1]), np.log(rates[: lowest + 1]))
    return RangeTest(rates, losses, suggested=rates[int(np.argmin(slopes_N))], lowest=rates[lowest])


def draw(found: RangeTest) -> bytes:
    """The loss over the rate, as a PNG."""
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="#4c78a8")
    axes.axvline(found.suggested, color="#e45756", linestyle="--", label=f"suggested: {found.suggested:.1e}")
    axes.axvline(found.lowest, color="grey", linestyle=":", label=f"lowest loss: {found.lowest:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _follow(model: Model, objective: Objective, recipe: Recipe, progress: Progress) -> tuple[list[float], list[float]]:
    """The rates and the losses of the steps, up to where the loss has blown up."""
    batches = objective.batches(recipe.budget.batch_size, seed=recipe.seed)
    stepper = make_stepper(model, recipe.optim, make_scaler(recipe.hardware, model.device))
    rates: list[float] = []
    losses: list[float] = []
    best = math.inf
    train_mode(model)
    with progress.bar("growing rates", STEPS) as bar:
        for step in range(STEPS):
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
            epoch, batch = divmod(step, batches.steps)
            place = Place(step=step, epoch=epoch, batch=batch)
            stepper.set_lr(rate / recipe.optim.lr)
            try:
                loss = move_once(model, objective, stepper, batches.batch(epoch, batch), place, recipe)
            except NotFiniteError:
                if step < LEAST_POINTS:  # no matter of the rate: it is tiny here
                    raise
                break
            rates.append(rate)
            losses.append(loss)
            mean = float(np.mean(losses[-AROUND:]))
            best = min(best, mean)
            bar.advance(note=f"lr {rate:.1e}  loss {mean:.4f}")
            if step >= LEAST_POINTS and mean > BLOWN_UP * best:
                break
    return rates, losses
