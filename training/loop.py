"""What happens between a fresh model and a trained one?

One function, read from top to bottom. Its promises: the same seed gives the same weights (CPU, same versions and
threads); a run that was killed and resumed ends in the same bits as one that was not; a loss or gradient that is not
finite stops it in the same step and names the rows, a loss that diverges does so after 20 steps; a signal to end waits
for the step and leaves a checkpoint; the weights it leaves are those of the best epoch on dev, or of the last one.

All state is in the checkpoint: the rows of a step are a pure function of (seed, epoch, step), the rate one of the step.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from training.checkpoint import Place, list_checkpoints, run_lock, save
from training.errors import StoppedError, TrainingError
from training.faults import diverged
from training.hardware import made_ready, make_scaler
from training.modeling.depth import train_mode
from training.modeling.model import Model
from training.objectives import Objective
from training.optim import Average, lr_factor, make_stepper
from training.parallel import AgreedStop, by_first, check_same, first_before_others, is_first, rank_seed
from training.progress import Progress
from training.recipe import Recipe
from training.resume import find_checkpoint, restore, snapshot, start_afresh
from training.rng import seed_all
from training.signals import SHELL_BASE, Stop, noted
from training.step import move_once
from training.track import LOG_STEPS, Log, no_log


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run came to; the model holds the weights of `best_epoch`, from 1: the best on dev, or the last.

    `metric` and what it came to are None where there are no dev rows.
    """

    best_epoch: int
    metric: str | None
    best_metric: float | None
    history: list[dict[str, float]]  # by epoch: "epoch", "train_loss", and the dev metrics
    steps: int


def train(
    model: Model,
    objective: Objective,
    recipe: Recipe,
    *,
    folder: Path,
    fingerprint: Mapping[str, str],
    resume: bool,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
    title: str = "",
    log: Log = no_log,
) -> Trained:
    """Train `model` in place, on its device, and leave it in evaluation mode with the weights of its best epoch.

    Args:
        folder: where checkpoints go, and come from when `resume`.
        fingerprint: what the run depends on, by name; a checkpoint with another one is refused.
        clock: seconds, for rows/s only.
        title: stands before "epoch 1/3" in every line.
        log: is told figures of training every `LOG_STEPS` steps, and those of dev after an epoch.

    Raises:
        NotFiniteError: a loss or gradient is NaN or infinite. DivergedError: the loss went up and stays there.
        StoppedError: SIGTERM or SIGINT came; a checkpoint is written.
        TrainingError: the checkpoints belong to another run or are all damaged, the disk refuses, or another process
            trains in `folder`.
    """
    budget, optim = recipe.budget, recipe.optim
    batches = objective.batches(budget.batch_size, seed=recipe.seed)
    steps = budget.epochs * batches.steps
    stepper = make_stepper(model, optim, make_scaler(recipe.hardware, model.device))
    average = Average(model, optim.ema) if optim.ema is not None else None
    place = Place()
    best: dict[str, torch.Tensor] = {}

    def keep() -> Path:
        """Save all as it is now."""
        return by_first(partial(save, folder, snapshot(place, fingerprint, model, stepper, average, best)))

    check_same(fingerprint)
    lock = run_lock(folder) if is_first() else nullcontext()
    with lock, noted(AgreedStop()) as stop, made_ready(model, recipe, model.device):
        seed_all(rank_seed(recipe.seed))
        if resume:
            found = first_before_others(partial(find_checkpoint, folder, fingerprint, progress))
            place, best = restore(found, model, stepper, average)
        else:
            by_first(partial(start_afresh, folder, progress))
        while not _is_over(place, recipe):
            train_mode(model)
            start_s, rows_done = clock(), 0
            epoch_title = f"{title}epoch {place.epoch + 1}/{budget.epochs}"
            with progress.bar(epoch_title, batches.steps, done=place.batch) as bar:
                while place.batch < batches.steps:
                    rows = batches.batch(place.epoch, place.batch)
                    factor = lr_factor(
                        place.step, steps=steps, warmup_share=optim.warmup_share, schedule=optim.schedule
                    )
                    stepper.set_lr(factor)
                    loss = move_once(model, objective, stepper, rows, place, recipe)
                    if average is not None:
                        average.update(place.step)
                    place = _after_step(place, loss, len(rows))
                    if place.trend.has_diverged:
                        raise diverged(place, objective, rows)
                    if stop.came():
                        raise _stopped(stop, keep())
                    is_due = place.step % budget.checkpoint_steps == 0 and place.batch < batches.steps
                    if is_due and not place.trend.high:  # what may be diverging is not worth going back to
                        keep()
                    rows_done += len(rows)
                    rate = rows_done / max(clock() - start_s, 1e-9)
                    mean_loss = place.epoch_loss / place.epoch_rows
                    bar.advance(note=f"loss {mean_loss:.4f}  lr {optim.lr * factor:.2e}  {rate:.0f} rows/s")
                    if place.step % LOG_STEPS == 0:
                        log(place.step, {"train/loss": loss, "train/lr": optim.lr * factor, "train/rows_per_s": rate})
            scores: Mapping[str, float] | None = {}
            if objective.metric is not None:
                with progress.step(f"{epoch_title}, dev rows"), average.in_place() if average else nullcontext():
                    scores = by_first(partial(stop.unless_stopped, partial(objective.score, model)))
            if stop.came() or scores is None:
                raise _stopped(stop, keep())
            if scores:
                log(place.step, {f"dev/{name}": value for name, value in scores.items()})
            place, is_best = _end_epoch(place, scores, objective.metric, recipe)
            if is_best:
                weights = average.tensors if average else model.state_dict()
                best = {name: tensor.detach().clone() for name, tensor in weights.items()}
            if not place.trend.high or stop.came() or _is_over(place, recipe):
                keep()
            progress.say(_epoch_line(epoch_title, place, is_best, recipe))
            if stop.came():
                break
        if stop.came():
            raise _stopped(stop, list_checkpoints(folder)[0])
    if place.best_epoch is None:
        raise TrainingError("no epoch ended, so there are no weights to keep")
    model.load_state_dict(best)
    model.eval()
    return Trained(place.best_epoch, objective.metric, place.best_metric, place.history, place.step)


def _after_step(place: Place, loss: float, rows: int) -> Place:
    return replace(
        place,
        step=place.step + 1,
        batch=place.batch + 1,
        epoch_loss=place.epoch_loss + loss * rows,
        epoch_rows=place.epoch_rows + rows,
        trend=place.trend.after(loss),
    )


def _stopped(stop: Stop, path: Path) -> StoppedError:
    number = stop.signal
    assert number is not None  # nothing else stops a run
    way_on = "the same command with --resume goes on from there"
    return StoppedError(f"stopped by {number.name}; the checkpoint is {path}: {way_on}", SHELL_BASE + number)


def _end_epoch(place: Place, scores: Mapping[str, float], metric: str | None, recipe: Recipe) -> tuple[Place, bool]:
    """The place at the start of the next epoch, and whether the weights of the epoch that ended are to be kept."""
    epoch = place.epoch + 1
    entry = {"epoch": epoch, "train_loss": place.epoch_loss / place.epoch_rows, **scores}
    best = place.history[place.best_epoch - 1] if place.best_epoch is not None else None
    is_best = (
        metric is None or recipe.budget.choose == "last" or best is None or _merit(entry, metric) > _merit(best, metric)
    )
    ended = Place(
        step=place.step,
        epoch=epoch,
        best_epoch=epoch if is_best else place.best_epoch,
        best_metric=scores.get(metric or "") if is_best else place.best_metric,
        history=[*place.history, entry],
        trend=place.trend,
    )
    return ended, is_best


def _merit(entry: Mapping[str, float], metric: str) -> tuple[float, float]:
    """More is better: the metric, and where that is equal (a small dev split has few steps), the lower dev loss."""
    return entry[metric], -entry.get("dev_loss", 0.0)


def _epoch_line(title: str, place: Place, is_best: bool, recipe: Recipe) -> str:
    figures = "  ".join(f"{key} {value:.4f}" for key, value in place.history[-1].items() if key != "epoch")
    if recipe.budget.choose == "last":
        return f"{title}: {figures}"
    return f"{title}: {figures}{'  (best so far)' if is_best else f'  (best: epoch {place.best_epoch})'}"


def _is_over(place: Place, recipe: Recipe) -> bool:
    """Whether all epochs have ended, or `patience` epochs since the best one."""
    patience = recipe.budget.patience
    is_tired = patience is not None and place.best_epoch is not None and place.epoch - place.best_epoch >= patience
    return is_tired or place.epoch >= recipe.budget.epochs
