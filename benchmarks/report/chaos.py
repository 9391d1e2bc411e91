"""How do results of faults and overload look?"""

from benchmarks.chaos.overload import accepted_share
from benchmarks.report.lines import origin_line, table, times
from benchmarks.schema import Control, Fair, FairRound, Kills, LoadFigures, Memory, Overload, Poison, Terms


def overload(result: Overload, name: str) -> str:
    """A row for each engine."""
    rows = [
        [
            f"{part.engine}, {part.times:.0f}×",
            f"{part.peak_per_s:.0f}",
            f"{part.load.offered_per_s or 0:.0f}",
            f"{part.goodput_share:.2f}",
            f"{accepted_share(part):.2f}",
            f"{part.load.shed:,}",
            times(part.load.shed_latency),
            str(part.load.shed_without_retry_after),
            _ends(part.load),
            "yes" if part.counts_agree else "no",
        ]
        for part in result.parts
    ]
    head = ["engine", "peak, req/s", "offered, req/s", "goodput / peak", "p99 accepted / limit", "refused"]
    more = ["refusals, p50 / p99 ms", "without Retry-After", "other ends", "service counts the same"]
    return _page(result, name, table([*head, *more], rows))


def kills(result: Kills, name: str) -> str:
    """All kills in one line, and the slowest of them."""
    unready = [kill.unready_s for kill in result.kills]
    ready = [kill.ready_s for kill in result.kills]
    lines = [
        f"{len(result.kills)} kills of the engine of {result.model} at {result.rate_per_s:.0f} requests/s: "
        f"{result.load.answered:,} of {result.load.asked:,} answered right, {result.load.shed:,} refused, other ends: "
        f"{_ends(result.load)}. /ready said no after {_slowest(unready)} at the latest and yes again after "
        f"{_slowest(ready)} at the latest. The service counts the same: {'yes' if result.counts_agree else 'no'}."
    ]
    return _page(result, name, lines)


def terms(result: Terms, name: str) -> str:
    """All stops in one line."""
    inside = sum(term.sent_before for term in result.terms)
    missing = sum(term.unanswered for term in result.terms)
    codes = sorted({term.exit_code for term in result.terms})
    lines = [
        f"{len(result.terms)} stops of {result.model} under {result.clients} clients: {inside:,} requests were "
        f"in the house at the signal, {missing} of them not answered right; exit codes {codes}; ended after "
        f"{max((term.exit_s for term in result.terms), default=0.0):.1f} s at the latest.{_bound(inside, missing)}"
    ]
    return _page(result, name, lines)


def poison(result: Poison, name: str) -> str:
    """All rounds in one line."""
    lines = [
        f"{result.rounds} batches of {result.model} with a poisoned text: {result.others_right:,} of "
        f"{result.others:,} others answered right, {result.poisoned_failed} of {result.rounds} poisoned ones got an "
        f"error of their own ({result.outcomes}); up to {result.rows_max} rows in one run."
        f"{_bound(result.others, result.others - result.others_right)}"
    ]
    return _page(result, name, lines)


def fair(result: Fair, name: str) -> str:
    """A row for each round, and the medians."""
    few, many = result.rounds[0].few.greedy_open, result.rounds[0].many.greedy_open
    head = [
        *("round", "alone, p50 / p99 ms", f"beside {few} open", f"beside {many:,} open"),
        *(f"p99: {few} / alone", f"{many:,} / alone", f"{many:,} / {few}"),
        *(f"the {many:,}: requests/s, p50 s", "not right"),
    ]
    rows = [[str(number), *_fair_cells(each)] for number, each in enumerate(result.rounds, 1)]
    lines = [
        f"Median of {len(rows)} rounds: beside {many:,} open requests the p99 of the polite client is "
        f"**{result.over_idle:.2f} times** its p99 on an idle service, and {result.over_busy:.2f} times that beside "
        f"{few}. Not answered right, of the requests of both and of the control: {result.not_right} of "
        f"{result.asked:,}.",
        "",
        f"{result.model}, peak {result.peak_per_s:.0f} requests/s; the polite client asks {result.rate_per_s:.1f}/s, "
        f"{result.rounds[0].alone.polite.asked} requests a load.",
        "",
        *table(head, rows),
    ]
    return _page(result, name, lines)


def _fair_cells(each: FairRound) -> list[str]:
    greedy = each.many.greedy
    got = f"{greedy.requests_per_s:.0f}, {greedy.latency.p50_ms / 1000:.1f}" if greedy and greedy.latency else "–"
    loads = (each.alone, each.few, each.many)
    ratios = (each.few.p99_ms / each.alone.p99_ms, each.over_idle, each.over_busy)
    return [
        *(times(load.polite.latency) for load in loads),
        *(f"{ratio:.2f}" for ratio in ratios),
        got,
        str(sum(load.not_right for load in loads)),
    ]


def memory(result: Memory, name: str) -> str:
    """A row for each model."""
    rows = [
        [
            part.model,
            f"{part.requests:,}",
            f"{part.samples[0].mib:.1f} → {part.samples[-1].mib:.1f}",
            f"{part.growth:.2%}",
            f"{part.slope:.2%} (from {part.slope_low:.2%})",
            "yes" if part.has_slope else "no",
            str(part.not_right),
        ]
        for part in result.parts
    ]
    head = ["model", "requests", "MiB of all processes", "growth", "slope of the second half", "has one", "not right"]
    plot = ["", "![Memory against requests](images/memory.png)"]
    return _page(result, name, [*table(head, rows), *plot])


def _page(result: Overload | Kills | Terms | Poison | Fair | Memory, name: str, lines: list[str]) -> str:
    return "\n".join([origin_line(result.origin, name), "", *lines, "", _control(result.control), ""])


def _control(control: Control) -> str:
    verdict = "caught" if control.caught else "**missed: the check proves nothing**"
    return f"Control – {control.planted}: {control.found}; {verdict}."


def _ends(load: LoadFigures) -> str:
    """Every end but the right answer and a refusal under load."""
    names = ("wrong", "refused", "expired", "failed", "reset", "lost")
    found = [f"{name} {count}" for name in names if (count := getattr(load, name))]
    return ", ".join(found) or "none"


def _slowest(seconds: list[float | None]) -> str:
    if any(each is None for each in seconds):
        return f"never ({sum(each is None for each in seconds)} times)"
    return f"{max((each for each in seconds if each is not None), default=0.0):.1f} s"


def _bound(trials: int, failures: int) -> str:
    """What no failure in so many trials says about the rate of failures (rule of three)."""
    return f" No failure in {trials:,} bounds their rate at {3 / trials:.0e} (95 %)." if trials and not failures else ""
