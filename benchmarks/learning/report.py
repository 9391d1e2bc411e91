"""Which sentences and tables make docs/quality.md? All of it is made from the result files, so no figure can differ."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.learning.goals import GOALS, Goal, Wanted
from benchmarks.learning.schema import Coverage, Interval, Learning, Paired, Reached, Run
from benchmarks.machine import ROOT
from benchmarks.report.lines import table
from benchmarks.schema import RESULTS
from training.evaluation.paired import LEVEL

DOCUMENT = ROOT / "docs" / "quality.md"
HEAD = """# Quality

What models trained here reach on public data. `make quality` trains what is not trained yet and writes
`benchmarks/results/learning-*.json`; `python -m benchmarks docs` makes this page from those files. The recipes are in
`models/recipes/bench`. Epoch, temperature, thresholds and sets are chosen on dev, the test split is judged once. Shares
are in percent; brackets hold 95 % intervals: over seeds where there are several (Student's t), else over test rows
(bootstrap).
"""


def document(folder: Path = RESULTS) -> str:
    """The whole page."""
    found = {goal.name: _read(goal, folder) for goal in GOALS}
    lines = [HEAD, *_targets(found)]
    for goal in GOALS:
        if (result := found[goal.name]) is not None:
            lines += ["", f"## {goal.number}. {goal.title}", "", *_section(result)]
    return "\n".join(lines) + "\n"


def _read(goal: Goal, folder: Path) -> Learning | None:
    path = folder / f"learning-{goal.name}.json"
    return Learning.model_validate_json(path.read_bytes()) if path.exists() else None


def _targets(found: dict[str, Learning | None]) -> list[str]:
    rows = []
    for goal in GOALS:
        result = found[goal.name]
        by_figure = {(one.figure, one.training): one for one in result.reached} if result else {}
        rows += [_row(goal, wanted, by_figure.get((wanted.figure, wanted.training))) for wanted in goal.wanted]
        if goal.paired:
            rows.append(_paired_row(goal, result.paired if result else None))
        if goal.coverage:
            rows += _coverage_rows(goal, result.coverage if result else [])
    return table(["#", "data", "figure", "target", "reached", "seeds", "published or plain"], rows)


def _row(goal: Goal, wanted: Wanted, reached: Reached | None) -> list[str]:
    said, seeds = "not measured", "–"
    if reached is not None:
        said = f"{percent(reached.mean)}{_brackets(reached.interval)}{_verdict(wanted, reached.mean)}"
        seeds = str(reached.seeds)
    return [str(goal.number), goal.name, wanted.figure, _target(wanted), said, seeds, wanted.published or "–"]


def _target(wanted: Wanted) -> str:
    if wanted.least is not None:
        return f"≥ {percent(wanted.least)}"
    return f"≤ {percent(wanted.most)}" if wanted.most is not None else "–"


def _verdict(wanted: Wanted, mean: float) -> str:
    if wanted.least is None and wanted.most is None:
        return ""
    holds = mean >= wanted.least if wanted.least is not None else mean <= (wanted.most or 0)
    return "" if holds else ", **missed**"


def _paired_row(goal: Goal, paired: Paired | None) -> list[str]:
    assert goal.paired is not None
    figure = f"accuracy of {goal.paired[1]} less that of {goal.paired[0]}, same rows"
    said, seeds = "not measured", "–"
    if paired is not None:
        is_better = paired.by > 0 and paired.p < LEVEL
        said = f"{100 * paired.by:+.2f}{_brackets(paired.interval)}, p = {paired.p:.2g}"
        said, seeds = said + ("" if is_better else ", **missed**"), str(paired.seeds)
    return [str(goal.number), goal.name, figure, f"> 0, p < {LEVEL}", said, seeds, "–"]


def _coverage_rows(goal: Goal, coverage: Sequence[Coverage]) -> Iterator[list[str]]:
    for training in goal.trainings:
        found = [one for one in coverage if one.training == training.name]
        within = sum(abs(one.held - one.expected) <= one.two_errors for one in found)
        said = f"{within} of {len(found)} runs" + ("" if within == len(found) else ", **missed**")
        figure = f"{training.name}: coverage of sets within two standard errors"
        yield [
            str(goal.number),
            goal.name,
            figure,
            "all",
            said if found else "not measured",
            str(len(found) or "–"),
            "–",
        ]


def _section(result: Learning) -> Iterator[str]:
    yield from table(["run", "seed", "test rows", "epoch", "minutes", "figures"], [_run(one) for one in result.runs])
    if result.coverage:
        yield ""
        yield from table(
            [
                "run",
                "seed",
                "fitted on",
                "expected",
                "held by the limit",
                "two errors",
                "held as served",
                "labels a set",
            ],
            [_coverage(one) for one in result.coverage],
        )
        first = result.coverage[0]
        yield ""
        yield (
            f"Sets of {first.wanted:.0%} over {first.splits} re-splits of dev and test. As served, a set always has "
            "the best label, so that it holds the right one at least as often as that label is right."
        )
    machine, commits = result.origin.machine, sorted({one.origin.commit[:10] for one in result.runs})
    name = f"learning-{result.goal}.json"
    yield ""
    yield (
        f"`{result.origin.command}` on {result.origin.date[:10]}, commits {', '.join(commits)}: {machine.cpu}, "
        f"{machine.cores} cores. All figures: [`benchmarks/results/{name}`](../benchmarks/results/{name})."
    )


def _run(one: Run) -> list[str]:
    shown = [
        name for name in ("accuracy", "macro_f1", "spearman", "mrr", "ece_before", "ece_after") if name in one.figures
    ]
    said = ", ".join(
        f"{name.replace('_', ' ')} {percent(one.figures[name].value)}{_brackets(one.figures[name].interval)}"
        for name in shown
    )
    stopped = f" ({one.processes} processes)" if one.processes > 1 else ""
    minutes = f"{one.seconds / 60:.1f}{stopped}"
    return [one.training, str(one.seed), f"{one.rows['test']:,}", str(one.best_epoch), minutes, said]


def _coverage(one: Coverage) -> list[str]:
    shares = [percent(value) for value in (one.expected, one.held, one.two_errors, one.served)]
    return [
        one.training,
        str(one.seed),
        f"{one.fitted_on:,} of {one.fitted_on + one.judged_on:,}",
        *shares,
        f"{one.labels:.2f}",
    ]


def percent(share: float) -> str:
    """`0.9372` as 93.72."""
    return f"{100 * share:.2f}"


def _brackets(interval: Interval | None) -> str:
    return f" [{percent(interval[0])}, {percent(interval[1])}]" if interval else ""
