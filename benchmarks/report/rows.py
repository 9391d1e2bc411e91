"""Which targets are reached? One line for each figure of docs/benchmarks.md, made from the result files alone.

A figure that has no file is not measured; one that misses its target says so and stays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.chaos_parts import fair, kills, memory, overload, poison, terms
from benchmarks.report.lines import table
from benchmarks.report.other_parts import cuda, front_end
from benchmarks.report.parts import Part
from benchmarks.report.speed_parts import infinity, lone, of_plans, open_loop, shares, waste


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, its target, and how its parts are found in a folder of results."""

    number: int
    figure: str
    target: str
    parts: Callable[[Path], list[Part]]


def rows_table(folder: Path) -> str:
    """All rows as Markdown."""
    lines = [[str(row.number), row.figure, row.target, *_cells(row.parts(folder))] for row in ROWS]
    return "\n".join([*table(["#", "figure", "target", "reached", "verdict", "file"], lines), ""])


def _cells(parts: list[Part]) -> list[str]:
    if not parts:
        return ["not measured", "–", "–"]
    files = dict.fromkeys(part.file for part in parts)
    linked = ", ".join(f"[{name}](../benchmarks/results/{name}.json)" for name in files)
    verdict = "reached" if all(part.holds for part in parts) else "**missed**"
    return ["; ".join(part.value for part in parts), verdict, linked]


ROWS = (
    Row(
        1,
        "32 clients, single text: requests/s against the ceiling of the same plan; the same in texts per CPU-second, "
        "load generator not counted",
        "≥ 0.87 fp32, ≥ 0.80 int8; ≥ 0.90, ≥ 0.84",
        of_plans(shares),
    ),
    Row(
        2,
        "the same against Infinity (torch): requests/s and p99",
        "≥ 4× fp32, ≥ 9× int8; p99 ≤ 1/3, ≤ 1/7",
        infinity,
    ),
    Row(3, "1 client: p50 minus (tokenise + bare run)", "≤ 1.0 ms", of_plans(lone)),
    Row(4, "padding waste at saturation", "≤ 8 %", of_plans(waste)),
    Row(
        5,
        "open loop: p99 at 10 % of capacity against direct calls on the same texts; p99 at 70 % against p99 at 10 %",
        "≤ 1.5×; ≤ 3×",
        of_plans(open_loop),
    ),
    Row(
        6,
        "overload, 3× the real engine and 10× one of set price: goodput / peak; p99 of accepted / limit; p99 of "
        "refusals",
        "≥ 0.85, ≥ 0.90; ≤ 1.2; ≤ 50 ms, each with Retry-After",
        overload,
    ),
    Row(
        7,
        "`kill -9` of the engine under half load: accepted requests not answered right; ready again",
        "0; ≤ 5 s",
        kills,
    ),
    Row(8, "SIGTERM under load: requests that had arrived and were not answered right", "0", terms),
    Row(9, "a poisoned text in a batch of 32: other requests answered right", "all", poison),
    Row(
        10,
        "memory of all processes after warm-up; a planted leak",
        "growth < 1 %, no slope in the second half; caught",
        memory,
    ),
    Row(11, "an engine that costs nothing: requests a front-end CPU-second, single text, base64", "≥ 4,000", front_end),
    Row(
        12,
        "CUDA: mixed lengths, packed against padded fp16; against sentence-transformers fp16; padding; share of the "
        "compute roof, BERT-base at 128 tokens",
        "≥ 1.8×; ≥ 2×; ≤ 4 %; ≥ 40 %",
        cuda,
    ),
    Row(
        13,
        "one greedy client, 1,000 requests open: p99 of a polite one at 10 % of capacity, against its p99 alone on an "
        "idle service; against its p99 beside 8 open (no target); requests of both not answered right",
        "≤ 2×; –; 0",
        fair,
    ),
)
