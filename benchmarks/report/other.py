"""How do the results look that are about neither speed under load nor faults?"""

from benchmarks.report.lines import origin_line, table
from benchmarks.schema import DataChecks, EnginePython, FrontEnd, Quality, Schedule, Simulated, Start


def start(result: Start, name: str) -> str:
    """Verdict and every start of one result."""
    verdict = "reached" if result.median_s <= result.target_s else "missed"
    listed = ", ".join(f"{seconds:.2f}" for seconds in result.seconds)
    return (
        f"{origin_line(result.origin, name)}\n\n"
        f"**{result.median_s:.1f} s (median of {len(result.seconds)}: {listed}) with "
        f"{len(result.models)} models ({', '.join(result.models)}); the target of {result.target_s:.0f} s is "
        f"{verdict}.**\n"
    )


def quality(result: Quality, name: str) -> str:
    """A row for each trained classifier."""
    lines = [
        origin_line(result.origin, name),
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
        origin_line(result.origin, name),
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


def engine_python(result: EnginePython, name: str) -> str:
    """A row for each number of open requests."""
    rows = [
        [
            str(each.open),
            f"{each.rows_mean:.1f}",
            f"{each.requests_per_s:,.0f}",
            f"{each.user_us:.1f}",
            f"{each.system_us:.1f}",
        ]
        for each in result.figures
    ]
    head = ["requests open", "rows a batch", "requests/s", "user µs a request", "system µs a request"]
    target = f"Target: {result.target_us:.0f} µs of Python a request at batch sizes that matter."
    return "\n".join([origin_line(result.origin, name), "", target, "", *table(head, rows), ""])


def front_end(result: FrontEnd, name: str) -> str:
    """What a request and a refusal cost, and every round."""
    rounds = ", ".join(f"{each.us_per_request:.0f}" for each in result.answers)
    refused = ", ".join(f"{each.us_per_request:.0f}" for each in result.refusals)
    return (
        f"{origin_line(result.origin, name)}\n\n"
        f"{result.per_cpu_s:,.0f} requests a CPU-second of one front end (target {result.target_per_cpu_s:,}); a "
        f"refusal costs {result.refusal_us:.0f} µs (target {result.target_refusal_us}). {result.clients} clients, "
        f"texts of {result.words} words, {result.tokens_mean:.1f} tokens. Rounds, µs a request: {rounds}; "
        f"refused: {refused}.\n"
    )


def data(result: DataChecks, name: str) -> str:
    """A row for each form, and near duplicates."""
    near = result.near
    slowest, largest = max(one.seconds for one in result.forms), max(one.peak_mb for one in result.forms)
    verdict = "reached" if slowest < result.target_s and largest < result.target_mb else "missed"
    head = ["form", "seconds", "MB at most", "rows/s"]
    rows = [
        [one.form, f"{one.seconds:.1f}", f"{one.peak_mb:,.0f}", f"{result.rows / one.seconds:,.0f}"]
        for one in result.forms
    ]
    return "\n".join(
        [
            origin_line(result.origin, name),
            "",
            f"**{result.rows:,} rows in at most {slowest:.1f} s and {largest:,.0f} MB; the target of "
            f"{result.target_s:.0f} s and {result.target_mb:,.0f} MB is {verdict}.** {result.labels} labels, texts of "
            f"{result.characters_mean:.0f} characters on average; the {result.duplicates:,} planted "
            f"duplicates and {result.overlaps:,} planted overlaps were found in every form, and no others.",
            "",
            *table(head, rows),
            "",
            f"Near duplicates, apart: {near.texts:,} texts of dev and test among the rest in {near.seconds:.1f} s, "
            f"{near.peak_mb:,.0f} MB with the rows; {near.found:,} found, {near.planted:,} planted.",
            "",
        ]
    )
