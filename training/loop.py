"""What happens between a fresh model and a trained one?

One function, read from top to bottom. Its promises: the same seed gives the same weights (CPU, same versions and
threads); a run that was killed and resumed ends in the same bits as one that was not; a loss or gradient that is not
finite stops it in the same step and names the rows; a signal to end waits for the step and leaves a checkpoint; the
weights it leaves are those of the best epoch on dev.

All state is in the checkpoint: the order of batches is a pure function of (seed, epoch), the rate one of the step.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from training.checkpoint import Place, list_checkpoints, run_lock, save
from training.data.collate import epoch_batches
from training.errors import NotFiniteError, StoppedError, TrainingError
from training.modeling.model import Model
from training.objectives import Objective
from training.optim import lr_factor, make_optimizer, set_lr
from training.progress import Progress
from training.recipe import Recipe
from training.resume import find_checkpoint, restore, snapshot, start_afresh
from training.rng import seed_all
from training.signals import SHELL_BASE, Stop, noted

NAMED_ROWS = 40  # of a batch that went wrong: more than the usual batch


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run came to; the model holds the best epoch's weights. Epochs are counted from 1."""

    best_epoch: int
    metric: str
    best_metric: float
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
) -> Trained:
    """Train `model` in place and leave it in evaluation mode with the weights of its best epoch.

    Args:
        folder: where checkpoints go, and come from when `resume`.
        fingerprint: what the run depends on, by name; a checkpoint with another one is refused.
        clock: seconds, for rows/s only.

    Raises:
        NotFiniteError: a loss or gradient is NaN or infinite.
        StoppedError: SIGTERM or SIGINT came; a checkpoint is written.
        TrainingError: the checkpoints belong to another run or are all damaged, the disk refuses, or another process
            trains in `folder`.
    """
    budget, lengths = recipe.budget, objective.lengths
    steps_per_epoch = math.ceil(len(lengths) / budget.batch_size)
    steps = budget.epochs * steps_per_epoch
    optimizer = make_optimizer(model, recipe.optim)
    place = Place()
    best: dict[str, torch.Tensor] = {}

    def keep() -> Path:
        """Save all as it is now."""
        return save(folder, snapshot(place, fingerprint, model, optimizer, best))

    with run_lock(folder), noted() as stop:
        seed_all(recipe.seed)
        if resume:
            place, best = restore(find_checkpoint(folder, fingerprint, progress), model, optimizer)
        else:
            start_afresh(folder, progress)
        while place.epoch < budget.epochs and not _out_of_patience(place, budget.patience):
            model.train()
            batches = epoch_batches(lengths, budget.batch_size, seed=recipe.seed, epoch=place.epoch)
            start_s, rows_done = clock(), 0
            title = f"epoch {place.epoch + 1}/{budget.epochs}"
            with progress.bar(title, steps_per_epoch, done=place.batch) as bar:
                for indices in batches[place.batch :]:
                    set_lr(optimizer, lr_factor(place.step, steps=steps, warmup_share=recipe.optim.warmup_share))
                    loss = _step(model, objective, optimizer, indices, place, clip_norm=recipe.optim.clip_norm)
                    place = replace(
                        place,
                        step=place.step + 1,
                        batch=place.batch + 1,
                        epoch_loss=place.epoch_loss + loss * len(indices),
                        epoch_rows=place.epoch_rows + len(indices),
                    )
                    if stop.came():
                        raise _stopped(stop, keep())
                    if place.step % budget.checkpoint_steps == 0 and place.batch < steps_per_epoch:
                        keep()
                    rows_done += len(indices)
                    mean_loss = place.epoch_loss / place.epoch_rows
                    rate = rows_done / max(clock() - start_s, 1e-9)
                    bar.advance(note=f"loss {mean_loss:.4f}  {rate:.0f} rows/s")
            with progress.step(f"{title}, dev rows"):
                scores = stop.unless_stopped(partial(objective.score, model))
            if stop.came() or scores is None:
                raise _stopped(stop, keep())
            place, is_best = _end_epoch(place, scores, objective.metric)
            if is_best:
                best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            keep()
            progress.say(_epoch_line(title, place, is_best))
            if stop.came():
                break
        if stop.came():
            raise _stopped(stop, list_checkpoints(folder)[0])
    if place.best_epoch is None or place.best_metric is None:
        raise TrainingError("no epoch ended, so there are no weights to keep")
    model.load_state_dict(best)
    model.eval()
    return Trained(place.best_epoch, objective.metric, place.best_metric, place.history, place.step)


def _step(
    model: Model,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    indices: Sequence[int],
    place: Place,
    *,
    clip_norm: float,
) -> float:
    """Move the weights once; returns the loss before."""
    optimizer.zero_grad(set_to_none=True)
    loss = objective.loss(model, indices)
    value = loss.item()
    if not math.isfinite(value):
        raise _not_finite("loss", value, objective, indices, place)
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm).item()
    if not math.isfinite(norm):
        raise _not_finite("norm of the gradient", norm, objective, indices, place)
    optimizer.step()
    return value


def _not_finite(what: str, value: float, objective: Objective, indices: Sequence[int], place: Place) -> NotFiniteError:
    wheres = [objective.rows[index].where for index in indices]
    hidden = f", and {len(wheres) - NAMED_ROWS} more" if len(wheres) > NAMED_ROWS else ""
    return NotFiniteError(
        f"epoch {place.epoch + 1}, step {place.step + 1}: the {what} is {value}; nothing of this step is kept. "
        f"Rows of the batch: {', '.join(wheres[:NAMED_ROWS])}{hidden}. Look at these rows, or lower optim.lr"
    )


def _stopped(stop: Stop, path: Path) -> StoppedError:
    number = stop.signal
    assert number is not None  # nothing else stops a run
    way_on = "the same command with --resume goes on from there"
    return StoppedError(f"stopped by {number.name}; the checkpoint is {path}: {way_on}", SHELL_BASE + number)


def _end_epoch(place: Place, scores: Mapping[str, float], metric: str) -> tuple[Place, bool]:
    """The place at the start of the next epoch, and whether the epoch that ended is the best so far."""
    epoch = place.epoch + 1
    entry = {"epoch": epoch, "train_loss": place.epoch_loss / place.epoch_rows, **scores}
    best = place.history[place.best_epoch - 1] if place.best_epoch is not None else None
    is_best = best is None or _merit(entry, metric) > _merit(best, metric)
    ended = Place(
        step=place.step,
        epoch=epoch,
        best_epoch=epoch if is_best else place.best_epoch,
        best_metric=scores[metric] if is_best else place.best_metric,
        history=[*place.history, entry],
    )
    return ended, is_best


def _merit(entry: Mapping[str, float], metric: str) -> tuple[float, float]:
    """More is better: the metric, and where that is equal (a small dev split has few steps), the lower dev loss."""
    return entry[metric], -entry.get("dev_loss", 0.0)


def _epoch_line(title: str, place: Place, is_best: bool) -> str:
    figures = "  ".join(f"{key} {value:.4f}" for key, value in place.history[-1].items() if key != "epoch")
    return f"{title}: {figures}{'  (best so far)' if is_best else f'  (best: epoch {place.best_epoch})'}"


def _out_of_patience(place: Place, patience: int | None) -> bool:
    """Whether `patience` epochs have ended since the best one."""
    return patience is not None and place.best_epoch is not None and place.epoch - place.best_epoch >= patience
