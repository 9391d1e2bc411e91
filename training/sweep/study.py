"""Which settings does a sweep try next, and what became of those it tried?

Optuna proposes (TPE, doi:10.1145/3292500.3330701) and prunes; every trial is a process (process.py). All that is known
lies in a journal file in the folder of the recipe's runs, so a sweep that was stopped, even by `kill -9`, goes on when
the same command is given again: a trial that was cut off is tried once more, from its beginning. A proposal is a
function of the seed and the trials before it, so the same seed gives the same trials, stopped in between or not.
"""

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from training.checkpoint import run_lock
from training.errors import TrainingError
from training.progress import Progress
from training.recipe import Recipe, load_recipe, load_sweep
from training.recipe.sweep import Span, SweepTable, Value, setting
from training.sweep.process import Outcome, run_trial

FOLDER, JOURNAL = "sweep", "journal.log"
ERROR = "error"  # the attribute of a trial that failed by itself; one that was cut off has none


def sweep(path: Path, ranges: Path, *, models: Path, progress: Progress, overrides: Sequence[str] = ()) -> str:
    """The table of all trials of the recipe in `path` over the values in `ranges`, and the command with the best ones.

    Raises:
        TrainingError: the recipe or the ranges are wrong, or no trial came to its end.
    """
    recipe, table = load_recipe(path, overrides), load_sweep(ranges, path, overrides)
    if recipe.loss is None:
        raise TrainingError(f"{recipe.name} has no [data] and [loss], so there is nothing to try")
    if not getattr(recipe.data, "has_dev", True):
        raise TrainingError(f"{recipe.name}: data.dev_share = 0: there are no dev rows to judge a trial by")
    folder = models / "runs" / recipe.name / FOLDER
    with run_lock(folder):
        study = _open(folder / JOURNAL, recipe, table)
        for cut_off in study.get_trials(states=[TrialState.RUNNING]):
            _put_back(study, cut_off)
        while (done := len(finished(study))) < table.trials:
            study.sampler = optuna.samplers.TPESampler(seed=table.seed + done)
            trial = study.ask()
            settings = [setting(key, _suggest(trial, key, span)) for key, span in table.values.items()]
            title = f"trial {done + 1}/{table.trials}"
            progress.say(f"{title}: {' '.join(settings)}")
            try:
                outcome = _run(trial, path, folder / f"trial-{done + 1:04d}", [*overrides, *settings], progress)
            except KeyboardInterrupt:
                _put_back(study, trial)
                progress.say(f"{done} of {table.trials} trials are done; the same command goes on")
                raise
            progress.say(f"{title}: {_tell(study, trial, outcome)}")
        return report(study, path, overrides)


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Those that count: complete, pruned or failed by themselves."""
    ended = study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
    return [trial for trial in ended if trial.state != TrialState.FAIL or ERROR in trial.user_attrs]


def report(study: optuna.Study, path: Path, overrides: Sequence[str]) -> str:
    """A line for each trial, the best first, and what to do with the best.

    Raises:
        TrainingError: none came to its end.
    """
    trials = sorted(finished(study), key=_rank)
    if trials[0].state != TrialState.COMPLETE:
        raise TrainingError(f"none of {len(trials)} trials came to its end; the last: {trials[-1].user_attrs[ERROR]}")
    names = list(trials[0].params)
    rows = [["dev", "epochs", *names, ""], *(_cells(trial, names) for trial in trials)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    best = [*overrides, *(setting(name, value) for name, value in trials[0].params.items())]
    command = f"python -m training train {path} " + " ".join(f"--set {shlex.quote(text)}" for text in best)
    return "\n".join([*lines, "", command])


def _open(journal: Path, recipe: Recipe, table: SweepTable) -> optuna.Study:
    """The study of this very sweep, be it begun or not: more trials may be asked of it, other values make another."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = {"recipe": recipe.model_dump(mode="json"), "sweep": table.model_dump(mode="json", exclude={"trials"})}
    pruners = {
        "median": optuna.pruners.MedianPruner(),
        "hyperband": optuna.pruners.HyperbandPruner(max_resource=recipe.budget.epochs),
        "none": optuna.pruners.NopPruner(),
    }
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16],
        direction="maximize",
        pruner=pruners[table.pruner],
        load_if_exists=True,
    )


def _suggest(trial: Trial, key: str, span: Span | list[Value]) -> Value:
    if not isinstance(span, Span):
        return cast(Value, trial.suggest_categorical(key, span))  # None is no value of a recipe
    if isinstance(span.low, int) and isinstance(span.high, int):
        return trial.suggest_int(key, span.low, span.high, log=span.log)
    return trial.suggest_float(key, span.low, span.high, log=span.log)


def _run(trial: Trial, path: Path, folder: Path, settings: Sequence[str], progress: Progress) -> Outcome:
    def goes_on(epoch: int, metric: float) -> bool:
        progress.say(f"  epoch {epoch}: dev {metric:.4f}")
        trial.report(metric, epoch)
        return not trial.should_prune()

    return run_trial(path, folder, settings, goes_on)


def _tell(study: optuna.Study, trial: Trial, outcome: Outcome) -> str:
    """Keep what became of a trial; gives a word on it."""
    if outcome.error:
        trial.set_user_attr(ERROR, outcome.error)
        study.tell(trial, state=TrialState.FAIL)
        return f"failed: {outcome.error}"
    if outcome.was_ended:
        study.tell(trial, state=TrialState.PRUNED)
        return "pruned"
    study.tell(trial, max(outcome.metrics))
    return f"dev {max(outcome.metrics):.4f}"


def _put_back(study: optuna.Study, trial: Trial | FrozenTrial) -> None:
    """A trial that was cut off does not count, and its settings are tried next."""
    study.tell(trial.number, state=TrialState.FAIL)
    study.enqueue_trial(trial.params)


def _rank(trial: FrozenTrial) -> tuple[bool, float, int]:
    """Complete ones first, the best of them at the top."""
    best = max(trial.intermediate_values.values(), default=0.0)
    return trial.state != TrialState.COMPLETE, -best, trial.number


def _cells(trial: FrozenTrial, names: Sequence[str]) -> list[str]:
    """A trial's line of the table."""
    notes = {TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    reached = [f"{max(trial.intermediate_values.values()):.4f}" if trial.intermediate_values else "-"]
    values = [trial.params[name] for name in names]
    shown = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
    return [*reached, str(len(trial.intermediate_values)), *shown, notes.get(trial.state, "")]
