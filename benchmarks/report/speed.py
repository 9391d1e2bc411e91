"""How do results of speed under load look?"""

from collections.abc import Sequence

from benchmarks.report.lines import origin_line, table, times, unlike
from benchmarks.schema import Bench, CeilingFigures, Cell, Closed, Full, Peers

KINDS = ("engine", "frontend", "supervisor")


def bench(result: Bench, name: str) -> str:
    """Closed loops, CPU, open loop and the sweep of the ceiling."""
    corpus = result.corpus
    knee = f"{result.knee_per_s:.0f} requests/s" if result.knee_per_s else "below the lowest rate"
    return "\n".join(
        [
            origin_line(result.origin, name),
            "",
            f"{result.model} on {result.device}, plan {result.plan_name}; {corpus.texts:,} texts, no two alike, of "
            f"{corpus.tokens_mean:.1f} tokens on average (median {corpus.tokens_p50}, p90 {corpus.tokens_p90}, "
            f"p99 {corpus.tokens_p99}, longest {corpus.tokens_max}). Knee of the open loop: {knee}.",
            "",
            *_closed(result.closed),
            "",
            *_cpu(result.closed),
            "",
            *_open(result),
            "",
            *_sweep(result.sweep),
            "",
            f"![Latency against offered load, {result.plan}](images/latency-{result.plan}.png)",
            "",
        ]
    )


def full(result: Full, name: str) -> str:
    """Share of the ceiling of every cell."""
    forms = ("json", "base64", "bytes")
    rows = []
    for tokens, count in dict.fromkeys((cell.tokens, cell.texts_a_request) for cell in result.cells):
        cells = [cell for cell in result.cells if (cell.tokens, cell.texts_a_request) == (tokens, count)]
        by_form: dict[str, str] = {cell.format: _cell(cell) for cell in cells}
        rows.append(
            [
                str(tokens),
                str(count),
                f"{cells[0].ceiling.texts_per_s:.0f}",
                *(by_form.get(form, "–") for form in forms),
                f"{max(cell.service.waste for cell in cells):.1%}",
            ]
        )
    head = ["tokens", "texts a request", "ceiling, texts/s", *forms, "padding"]
    left_out = [f"Left out: {'; '.join(result.left_out)}.", ""] if result.left_out else []
    return "\n".join(
        [
            origin_line(result.origin, name),
            "",
            f"{result.model}, plan {result.plan_name}. Cells: texts/s, and the share of the ceiling for texts of that "
            "length.",
            "",
            *table(head, rows),
            "",
            *left_out,
            f"![Throughput against length, {result.plan}](images/throughput-{result.plan}.png)",
            "",
            f"![Padding waste, {result.plan}](images/waste-{result.plan}.png)",
            "",
        ]
    )


def peers(result: Peers, name: str) -> str:
    """A row for each server, fastest first, and what could not be measured."""
    rows = [
        [
            server.name,
            f"{server.one.requests_per_s:.0f}",
            times(server.one.latency),
            f"{server.many.requests_per_s:.0f}",
            times(server.many.latency),
            f"{server.cpu_ms_a_text:.2f}",
            unlike(server.many),
            ", ".join(f"{package} {version}" for package, version in server.versions.items()),
        ]
        for server in sorted(result.servers, key=lambda server: -server.many.requests_per_s)
    ]
    many = f"{result.clients} clients"
    head = [
        *("server", "1 client, req/s", "p50 / p99 ms", f"{many}, req/s", "p50 / p99 ms", "CPU ms a text"),
        *("not right", "versions"),
    ]
    offline = ", ".join(f"{each.name} {each.texts_per_s:.0f} texts/s" for each in result.offline)
    failed = [f"Not measured: {'; '.join(f'{who}: {why}' for who, why in result.failed.items())}.", ""]
    return "\n".join(
        [
            origin_line(result.origin, name),
            "",
            f"{result.model}; texts of {result.corpus.tokens_mean:.1f} tokens on average, one a request, answers as "
            f"JSON. Offline, all texts known in advance: {offline}.",
            "",
            *table(head, rows),
            "",
            *(failed if result.failed else []),
        ]
    )


def _closed(loops: Sequence[Closed]) -> list[str]:
    rows = [
        [
            f"{each.load.clients}, {each.load.format}",
            f"{each.ceiling_per_s:.0f}",
            f"{each.load.requests_per_s:.0f}",
            f"{each.share:.3f}",
            f"{each.cpu_share:.3f}",
            times(each.load.latency),
            f"{each.service.waste:.1%}",
            f"{each.service.rows_mean:.1f}",
            unlike(each.load),
        ]
        for each in loops
    ]
    head = ["clients, format", "ceiling, texts/s", "req/s", "share", "share by CPU", "p50 / p99 ms", "padding"]
    return table([*head, "rows a run", "not right"], rows)


def _cpu(loops: Sequence[Closed]) -> list[str]:
    rows = []
    for each in loops:
        texts = max(each.load.answered, 1)
        kinds = [1000 * each.service.cpu_s.get(kind, 0.0) / texts for kind in KINDS]
        rest = each.service_ms - sum(kinds)
        generator = 1000 * each.load.generator_cpu_s / texts
        ceiling = (each.before.cpu_ms_per_text + each.after.cpu_ms_per_text) / 2
        cells = [*kinds, rest, each.service_ms, ceiling]
        rows.append(
            [f"{each.load.clients}, {each.load.format}", *(f"{cell:.2f}" for cell in cells), f"{generator:.3f}"]
        )
    head = ["CPU ms a text", "engine", "front ends", "supervisor", "other", "all", "ceiling", "load generator"]
    return table(head, rows)


def _open(result: Bench) -> list[str]:
    rows = []
    for each in result.open_loop:
        latency = each.load.latency
        all_times = (
            f"{latency.p50_ms:.1f} / {latency.p90_ms:.1f} / {latency.p99_ms:.1f} / {latency.p999_ms:.1f}"
            if latency
            else "–"
        )
        rows.append(
            [
                f"{each.load_share:.0%}",
                f"{each.load.offered_per_s or 0:.0f}",
                all_times,
                times(each.direct.latency) if each.direct else "",
                times(each.paused.latency) if each.paused else "",
                unlike(each.load),
                f"{each.load.late_p99_ms or 0:.1f}",
            ]
        )
    head = ["of capacity", "offered, req/s", "p50 / p90 / p99 / p99.9 ms", "direct calls, p50 / p99 ms"]
    return table([*head, "after pauses", "not right", "generator late at p99, ms"], rows)


def _sweep(sweep: Sequence[CeilingFigures]) -> list[str]:
    batches = sorted({figures.plan.batch for figures in sweep})
    rows = []
    for lanes, threads in sorted({(f.plan.lanes, f.plan.threads) for f in sweep}, reverse=True):
        found = {f.plan.batch: f for f in sweep if (f.plan.lanes, f.plan.threads) == (lanes, threads)}
        wide = "on one thread each" if threads == 1 else f"on {threads} threads"
        rows.append([f"{lanes} at a time {wide}", *(f"{found[batch].texts_per_s:.0f}" for batch in batches)])
    return table(["ceiling, texts/s, at batch", *map(str, batches)], rows)


def _cell(cell: Cell) -> str:
    return f"{cell.load.texts_per_s:.0f}, {cell.load.texts_per_s / cell.ceiling.texts_per_s:.2f}"
