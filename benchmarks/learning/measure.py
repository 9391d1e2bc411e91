"""What do the finished runs of a goal say together?

Means over seeds, the paired test of two trainings, conformal sets over re-splits. Nothing is trained here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.learning.goals import Goal, Training, Wanted
from benchmarks.learning.resplit import cover_again
from benchmarks.learning.schema import Coverage, Interval, Learning, Paired, Reached, Run
from benchmarks.learning.work import PREDICTIONS_FILE, Job, finished, here, run
from benchmarks.phases import Say
from training.evaluation.paired import difference_of_means, sign_flip

Predictions = Mapping[str, NDArray[np.float32]]


def measure(
    goal: Goal,
    seeds: Sequence[int],
    work: Path,
    command: Sequence[str],
    say: Say,
    keep: Callable[[Learning], object],
) -> bool:
    """Run what is not finished, seed by seed; `keep` gets the result after each. Whether all of it is there."""
    missing = [training for training in goal.trainings if not training.recipe.exists()]
    for training in missing:
        say(f"{training.name}: {training.recipe.name} does not exist")
    jobs = [Job(training, seed, work) for seed in seeds for training in goal.trainings if training not in missing]
    runs, failed = [], 0
    for job in jobs:
        done = finished(job)
        if done is None:
            say(f"{job.training.name}, seed {job.seed} …")
            try:
                done = run(job, command)
            except ValueError as error:
                say(str(error))
                failed += 1
                continue
            say(f"{job.training.name}, seed {job.seed}: {done.seconds / 60:.1f} minutes")
        runs.append(done)
        keep(summary(goal, runs, work, command, is_last=job is jobs[-1]))
    return not failed and not missing


def summary(goal: Goal, runs: Sequence[Run], work: Path, command: Sequence[str], *, is_last: bool = True) -> Learning:
    """The result file of the runs that are there; re-splits take their time, so they come with the last run."""
    return Learning(
        goal=goal.name,
        origin=here(command),
        runs=list(runs),
        reached=[found for wanted in goal.wanted if (found := reached(wanted, runs)) is not None],
        paired=paired(goal, runs, work),
        coverage=list(_coverage(goal, runs, work)) if is_last else [],
    )


def reached(wanted: Wanted, runs: Sequence[Run]) -> Reached | None:
    """The mean of a wanted figure; None if no run has it."""
    having = [one for one in runs if one.training == wanted.training and wanted.path in one.figures]
    if not having:
        return None
    values = np.array([_value(wanted, one) for one in having])
    is_plain = wanted.over is None and wanted.less is None
    alone = having[0].figures[wanted.path].interval if is_plain and len(having) == 1 else None
    return Reached(
        figure=wanted.figure,
        training=wanted.training,
        seeds=len(having),
        mean=float(values.mean()),
        interval=of_seeds(values) if len(having) > 1 else alone,
    )


def of_seeds(values_S: NDArray[np.float64]) -> Interval:
    """The 95 % interval of the mean over other seeds, by Student's t."""
    far = stats.t.ppf(0.975, len(values_S) - 1) * values_S.std(ddof=1) / np.sqrt(len(values_S))
    return float(values_S.mean() - far), float(values_S.mean() + far)


def paired(goal: Goal, runs: Sequence[Run], work: Path) -> Paired | None:
    """B against A over the seeds that both have."""
    if goal.paired is None:
        return None
    seeds_of = [{one.seed for one in runs if one.training == name} for name in goal.paired]
    seeds = sorted(seeds_of[0] & seeds_of[1])
    if not seeds:
        return None
    by_name = {training.name: training for training in goal.trainings}
    a_N, b_N = (_hits([_predictions(by_name[name], seed, work) for seed in seeds]) for name in goal.paired)
    found = difference_of_means("accuracy", a_N, b_N, sign_flip(a_N, b_N))
    assert found.p is not None
    a, b = goal.paired
    return Paired(a=a, b=b, seeds=len(seeds), rows=len(a_N), by=found.by, interval=found.interval, p=found.p)


def _value(wanted: Wanted, one: Run) -> float:
    value = one.figures[wanted.path].value
    if wanted.over is not None:
        return value / one.figures[wanted.over].value
    return value - one.figures[wanted.less].value if wanted.less is not None else value


def _predictions(training: Training, seed: int, work: Path) -> Predictions:
    with np.load(Job(training, seed, work).folder / PREDICTIONS_FILE) as arrays:
        return dict(arrays)


def _hits(by_seed: Sequence[Predictions]) -> NDArray[np.float64]:
    """The share of seeds that have each row right."""
    hits_SN = [one["test_logits"].argmax(axis=1) == one["test_targets"] for one in by_seed]
    means_N: NDArray[np.float64] = np.array(hits_SN).mean(axis=0)
    return means_N


def _coverage(goal: Goal, runs: Sequence[Run], work: Path) -> Iterator[Coverage]:
    if goal.coverage is None:
        return
    for training in goal.trainings:
        for one in runs:
            if one.training == training.name:
                yield cover_again(training.name, one.seed, _predictions(training, one.seed, work), goal.coverage)
