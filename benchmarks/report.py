"""How do results get into docs/benchmarks.md?

The document's figures stand between `<!-- figures: NAME -->` and `<!-- end -->` and are made here from
`results/NAME.json`; a test compares them, so no figure can differ from its file.
"""

import re
from pathlib import Path
from statistics import median

from benchmarks.machine import ROOT
from benchmarks.schema import RESULTS, LoadFigures, Origin, Phase, Quality, Schedule, Simulated, SingleText, Start

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BLOCK = re.compile(r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(document: str, folder: Path = RESULTS) -> str:
    """The document with every block made anew from its file."""
    return BLOCK.sub(lambda found: f"{found[1]}{_block(found[2], folder)}{found[3]}", document)


def _block(name: str, folder: Path) -> str:
    path = folder / f"{name}.json"
    if not path.exists():
        return f"Not measured yet: `benchmarks/results/{name}.json` does not exist.\n"
    data = path.read_bytes()
    if name == "schedule":
        return schedule(Schedule.model_validate_json(data), name)
    if name == "quality":
        return quality(Quality.model_validate_json(data), name)
    if name == "start":
        return start(Start.model_validate_json(data), name)
    return single_text(SingleText.model_validate_json(data), name)


def single_text(result: SingleText, name: str) -> str:
    """Verdict, rounds, open loop and cost of one result."""
    medians, corpus = result.medians, result.corpus
    verdict = "reached" if medians.share_many >= result.target_share else "missed"
    lines = [
        _origin(result.origin, name),
        "",
        f"**{result.many} clients reach {medians.share_many:.2f} of the offline ceiling; the target of "
        f"{result.target_share:.2f} is {verdict}. One client reaches {medians.share_one:.2f}.** "
        f"Model {result.model} on {result.device}; {corpus.texts:,} texts, no two alike, of "
        f"{corpus.tokens_mean:.1f} tokens on average (median {corpus.tokens_p50}, p90 {corpus.tokens_p90}, "
        f"p99 {corpus.tokens_p99}, longest {corpus.tokens_max}).",
        "",
        f"| round | ceiling, texts/s | 1 client, req/s | share | {result.many} clients, req/s | share "
        "| p50 / p99 ms at 1 | p50 / p99 ms at many | padding | rows a batch |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for number, each in enumerate(result.rounds, 1):
        lines.append(
            f"| {number} | {each.ceiling.texts_per_s:.0f} | {each.one.load.requests_per_s:.0f} | {each.share_one:.2f} "
            f"| {each.many.load.requests_per_s:.0f} | {each.share_many:.2f} | {_times(each.one.load)} "
            f"| {_times(each.many.load)} | {each.many.service.waste:.1%} | {each.many.service.rows_mean:.1f} |"
        )
    lines.append(
        f"| median | {medians.ceiling_texts_per_s:.0f} | {medians.one_per_s:.0f} | {medians.share_one:.2f} "
        f"| {medians.many_per_s:.0f} | {medians.share_many:.2f} | | | {medians.many_waste:.1%} "
        f"| {medians.many_rows_mean:.1f} |"
    )
    return "\n".join([*lines, "", *_open_loop(result), "", *_costs(result), "", *_sweep(result)]) + "\n"


def start(result: Start, name: str) -> str:
    """Verdict and every start of one result."""
    verdict = "reached" if result.median_s <= result.target_s else "missed"
    listed = ", ".join(f"{seconds:.2f}" for seconds in result.seconds)
    return (
        f"{_origin(result.origin, name)}\n\n**{result.median_s:.1f} s (median of {len(result.seconds)}: {listed}) with "
        f"{len(result.models)} models ({', '.join(result.models)}); the target of {result.target_s:.0f} s is "
        f"{verdict}.**\n"
    )


def quality(result: Quality, name: str) -> str:
    """A row for each trained classifier."""
    lines = [
        _origin(result.origin, name),
        "",
        "| bundle | rows: train, test | accuracy | macro-F1 | tf-idf + SVM | frozen + logistic regression "
        "| own sentences | ECE before → after | epoch kept |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in result.trained:
        svm, frozen = (each.baselines.get(key) for key in ("tfidf_svm", "frozen_logistic_regression"))
        rows, calibration = f"{each.train_rows:,}, {each.test_rows:,}", f"{each.ece_before:.3f} → {each.ece_after:.3f}"
        lines.append(
            f"| {each.model} | {rows} | **{each.accuracy:.2%}** | {each.macro_f1:.2%} | {_share(svm)} "
            f"| {_share(frozen)} | {_share(each.probes)} | {calibration} | {each.best_epoch} ({each.chosen_by}) |"
        )
    return "\n".join(lines) + "\n"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def schedule(result: Schedule, name: str) -> str:
    """A table of the simulated rules, a column for each number of clients."""
    clients = sorted({each.clients for each in result.simulated})
    lines = [
        _origin(result.origin, name),
        "",
        f"A run of {result.model} costs {result.overhead_ms:.2f} ms + {1000 * result.ms_per_token:.0f} µs a padded "
        f"token, {result.lanes} at a time; the service then takes {result.service_budget_tokens} tokens a batch and "
        f"lets a row join for up to {result.service_join_tokens:.1f} tokens of padding. Texts as above, "
        f"{result.corpus.tokens_mean:.1f} tokens on average. Cells: share of the ceiling, padding, p99.",
        "",
        f"| rule | tokens a batch | a row may add | {' | '.join(f'{count} clients' for count in clients)} |",
        "|---" * (3 + len(clients)) + "|",
    ]
    rules = dict.fromkeys((each.rule, each.budget_tokens, each.join_tokens) for each in result.simulated)
    for rule in rules:
        cells = [each for each in result.simulated if (each.rule, each.budget_tokens, each.join_tokens) == rule]
        joined = "any" if rule[2] is None else f"{rule[2]:.1f}"
        lines.append(f"| {rule[0]} | {rule[1]} | {joined} | {' | '.join(map(_simulated, cells))} |")
    return "\n".join(lines) + "\n"


def _simulated(each: Simulated) -> str:
    return f"{each.share:.2f}, {each.waste:.0%}, {each.p99_ms:.0f} ms"


def _origin(origin: Origin, name: str) -> str:
    machine, dirty = origin.machine, " with changes" if origin.dirty else ""
    settings = "".join(f"{key}={value} " for key, value in origin.settings.items())
    return (
        f"`{settings}{origin.command}` on {origin.date[:10]}, commit {origin.commit[:10]}{dirty}: {machine.cpu}, "
        f"{machine.cores} cores, {machine.memory_gib:.0f} GiB. "
        f"All figures: [`benchmarks/results/{name}.json`](../benchmarks/results/{name}.json)."
    )


def _open_loop(result: SingleText) -> list[str]:
    lines = [
        "| open loop: offered, req/s | answered right | shed | failed or wrong | p50 / p90 / p99 / p99.9 ms "
        "| generator late at p99, ms |",
        "|---|---|---|---|---|---|",
    ]
    for phase in result.open_loop:
        load = phase.load
        lines.append(
            f"| {load.offered_per_s or 0:.0f} | {load.answered} of {load.asked} | {load.shed} "
            f"| {load.failed + load.wrong} | {_all_times(load)} | {load.late_p99_ms or 0:.1f} |"
        )
    return lines


def _costs(result: SingleText) -> list[str]:
    lines = [
        "| CPU ms a request | engine | front end | supervisor | load generator | all |",
        "|---|---|---|---|---|---|",
    ]
    kinds = ("engine", "front end", "supervisor")
    phases = {
        "1 client": [each.one for each in result.rounds],
        f"{result.many} clients": [e.many for e in result.rounds],
    }
    for name, of in phases.items():
        cells = [*(_cpu_ms(of, kind) for kind in kinds), _generator_ms(of)]
        lines.append(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in [*cells, sum(cells)])} |")
    offline = median(each.ceiling.cpu_ms_per_text for each in result.rounds)
    return [*lines, f"| offline ceiling | {offline:.2f} | – | – | – | {offline:.2f} |"]


def _generator_ms(phases: list[Phase]) -> float:
    return median(1000 * phase.load.generator_cpu_s / phase.load.asked for phase in phases)


def _cpu_ms(phases: list[Phase], kind: str) -> float:
    return median(1000 * phase.service.cpu_s.get(kind, 0.0) / phase.load.asked for phase in phases)


def _sweep(result: SingleText) -> list[str]:
    batches = sorted({figures.plan.batch for figures in result.sweep})
    lines = [f"| ceiling, texts/s, at batch | {' | '.join(map(str, batches))} |", "|---" * (len(batches) + 1) + "|"]
    for lanes, threads in sorted({(f.plan.lanes, f.plan.threads) for f in result.sweep}, reverse=True):
        row = {f.plan.batch: f for f in result.sweep if (f.plan.lanes, f.plan.threads) == (lanes, threads)}
        cells = " | ".join(f"{row[batch].texts_per_s:.0f}" for batch in batches)
        lines.append(f"| {lanes} at a time on {threads} threads each | {cells} |")
    return lines


def _times(load: LoadFigures) -> str:
    return f"{load.latency.p50_ms:.1f} / {load.latency.p99_ms:.1f}" if load.latency else "–"


def _all_times(load: LoadFigures) -> str:
    times = load.latency
    return f"{times.p50_ms:.1f} / {times.p90_ms:.1f} / {times.p99_ms:.1f} / {times.p999_ms:.1f}" if times else "–"
