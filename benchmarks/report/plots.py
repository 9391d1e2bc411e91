"""Which plots stand in docs/benchmarks.md? PNG files in docs/images, drawn from the result files by matplotlib."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no window: before pyplot is imported

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from benchmarks.machine import ROOT
from benchmarks.report.parts import PLANS, read
from benchmarks.schema import RESULTS, Bench, Cell, Full, Memory

IMAGES = ROOT / "docs" / "images"
SIZE_IN, DPI = (7.0, 4.2), 110
COLOURS = ("#0b6e99", "#d9730d", "#0f7b6c", "#ad1a72")  # apart for the colour-blind, and on paper
MARKS = {"json": "o", "base64": "s", "bytes": "^"}


def draw_all(results: Path = RESULTS, images: Path = IMAGES) -> list[Path]:
    """Draw what there are results for; returns the files."""
    images.mkdir(parents=True, exist_ok=True)
    drawn = []
    for plan in PLANS:
        if bench := read(results, f"bench-{plan}", Bench):
            drawn.append(_save(images / f"latency-{plan}.png", partial(latency, result=bench)))
        if full := read(results, f"full-{plan}", Full):
            drawn.append(_save(images / f"throughput-{plan}.png", partial(throughput, result=full)))
            drawn.append(_save(images / f"waste-{plan}.png", partial(waste, result=full)))
    if found := read(results, "memory", Memory):
        drawn.append(_save(images / "memory.png", partial(memory, result=found)))
    return drawn


def latency(axes: Axes, result: Bench) -> None:
    """Open loop: percentiles against the rate that was offered; direct calls as lines across."""
    offered = [each.load.offered_per_s or 0.0 for each in result.open_loop if each.load.latency]
    for name, colour in zip(("p50", "p90", "p99"), COLOURS, strict=False):
        values = [getattr(each.load.latency, f"{name}_ms") for each in result.open_loop if each.load.latency]
        axes.plot(offered, values, marker="o", color=colour, label=name)
    if direct := next((each.direct for each in result.open_loop if each.direct), None):
        axes.axhline(direct.latency.p99_ms, color=COLOURS[2], linestyle=":", label="p99 of direct calls")
        axes.axhline(direct.latency.p50_ms, color=COLOURS[0], linestyle=":", label="p50 of direct calls")
    axes.axvline(result.capacity_per_s, color="grey", linestyle="--", label="closed loop's highest rate")
    _log_scale(axes)
    axes.set_xlim(left=0)
    axes.set_xlabel("offered, requests/s (Poisson)")
    axes.set_ylabel("latency from when it was due, ms")
    axes.set_title(f"{result.model}, {result.plan_name}: latency against offered load")
    axes.legend(fontsize=8)


def throughput(axes: Axes, result: Full) -> None:
    """Texts/s against length, and the ceiling."""
    lengths = sorted({cell.tokens for cell in result.cells})
    ceiling = [next(cell for cell in result.cells if cell.tokens == tokens).ceiling.texts_per_s for tokens in lengths]
    axes.plot(lengths, ceiling, color="grey", linestyle="--", label="ceiling")
    for count, colour in zip(sorted({cell.texts_a_request for cell in result.cells}), COLOURS, strict=False):
        for form, mark in MARKS.items():
            cells = _cells(result.cells, count, form)
            if cells:
                label = f"{count} a request, {form}"
                rates = [cell.load.texts_per_s for cell in cells]
                axes.plot([cell.tokens for cell in cells], rates, marker=mark, ms=4, lw=1, color=colour, label=label)
    axes.set_xscale("log", base=2)
    _log_scale(axes)
    axes.set_xticks(lengths, [str(tokens) for tokens in lengths])
    axes.set_xlabel("tokens of a text")
    axes.set_ylabel("texts/s")
    axes.set_title(f"{result.model}, {result.plan_name}: throughput against length")
    axes.legend(fontsize=7)


def waste(axes: Axes, result: Full) -> None:
    """Share of padding against length: texts that differ by up to a fifth in length share batches."""
    for count, colour in zip(sorted({cell.texts_a_request for cell in result.cells}), COLOURS, strict=False):
        cells = _cells(result.cells, count, "base64")
        shares = [100 * cell.service.waste for cell in cells]
        axes.plot([cell.tokens for cell in cells], shares, marker="o", color=colour, label=f"{count} a request")
    lengths = sorted({cell.tokens for cell in result.cells})
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(tokens) for tokens in lengths])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("tokens of a text (give or take a tenth)")
    axes.set_ylabel("padding, % of all tokens run")
    axes.set_title(f"{result.model}, {result.plan_name}: padding waste")
    axes.legend(fontsize=8)


def memory(axes: Axes, result: Memory) -> None:
    """Memory of all processes, of what it was after the warm-up, against the share of the requests."""
    for part, colour in zip(result.parts, COLOURS, strict=False):
        first = part.samples[0].mib
        shares = [100 * sample.requests / part.requests for sample in part.samples]
        values = [100 * sample.mib / first for sample in part.samples]
        axes.plot(shares, values, marker=".", color=colour, label=f"{part.model}, {part.requests:,} requests")
    axes.axhline(101, color="grey", linestyle="--", label="limit")
    axes.set_xlabel("requests, %")
    axes.set_ylabel("memory written by all processes, % of the start")
    axes.set_title("Memory after the warm-up")
    axes.legend(fontsize=8)


def _log_scale(axes: Axes) -> None:
    """A logarithmic axis that is read without counting powers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _cells(cells: Sequence[Cell], count: int, form: str) -> list[Cell]:
    chosen = [cell for cell in cells if (cell.texts_a_request, cell.format) == (count, form)]
    return sorted(chosen, key=lambda cell: cell.tokens)


def _save(path: Path, draw: Callable[[Axes], None]) -> Path:
    figure, axes = plt.subplots(figsize=SIZE_IN, layout="constrained")
    draw(axes)
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})  # the same data give the same bytes
    plt.close(figure)
    return path
