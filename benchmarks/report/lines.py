"""Which lines do all reports share?"""

from benchmarks.schema import Latency, LoadFigures, Origin


def origin_line(origin: Origin, name: str) -> str:
    """By which command, where, and where all figures are."""
    machine, dirty = origin.machine, " with changes" if origin.dirty else ""
    settings = "".join(f"{key}={value} " for key, value in origin.settings.items())
    return (
        f"`{settings}{origin.command}` on {origin.date[:10]}, commit {origin.commit[:10]}{dirty}: {machine.cpu}, "
        f"{machine.cores} cores, {machine.memory_gib:.0f} GiB. "
        f"All figures: [`benchmarks/results/{name}.json`](../benchmarks/results/{name}.json)."
    )


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def times(latency: Latency | None) -> str:
    """p50 and p99."""
    return f"{latency.p50_ms:.1f} / {latency.p99_ms:.1f}" if latency else "–"


def unlike(load: LoadFigures) -> str:
    """How many requests did not get the right answer, and how many of them were refused."""
    return f"{load.not_right} of {load.asked}" + (f", {load.shed} refused" if load.shed else "")
