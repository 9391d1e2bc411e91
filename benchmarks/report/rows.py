"""Which targets are reached? One line for each figure of docs/benchmarks.md, made from the result files alone.

A figure that has no file is not measured; one that misses its target says so and stays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.bench import MAIN_CLIENTS
from benchmarks.chaos.common import unanswered
from benchmarks.chaos.memory import GROWTH_MAX
from benchmarks.chaos.overload import accepted_share
from benchmarks.generator import LATE_MAX_MS
from benchmarks.report.lines import table
from benchmarks.schema import Bench, Closed, Figures, Kills, Memory, Open, Overload, Peers, Poison, Terms

Model = TypeVar("Model", bound=Figures)
PLANS = ("fp32", "int8")


@dataclass(frozen=True, slots=True)
class Part:
    """One number of a row: what it is, whether it holds, and the file it is from."""

    value: str
    holds: bool
    file: str


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


def read(folder: Path, name: str, model: type[Model]) -> Model | None:
    """A result file, or None where there is none."""
    path = folder / f"{name}.json"
    return model.model_validate_json(path.read_bytes()) if path.exists() else None


def loop(result: Bench, clients: int) -> Closed | None:
    """The closed loop of so many clients, in the first format."""
    return next((each for each in result.closed if each.load.clients == clients), None)


def at(result: Bench, share: float) -> Open | None:
    """The open loop at a share of the capacity."""
    return next((each for each in result.open_loop if each.load_share == share), None)


def _cells(parts: list[Part]) -> list[str]:
    if not parts:
        return ["not measured", "–", "–"]
    files = dict.fromkeys(part.file for part in parts)
    linked = ", ".join(f"[{name}](../benchmarks/results/{name}.json)" for name in files)
    verdict = "reached" if all(part.holds for part in parts) else "**missed**"
    return ["; ".join(part.value for part in parts), verdict, linked]


def _of_plans(measure: Callable[[Bench, str], list[tuple[str, bool]]]) -> Callable[[Path], list[Part]]:
    """The parts of a figure that every plan has."""

    def parts(folder: Path) -> list[Part]:
        found = []
        for plan in PLANS:
            result = read(folder, f"bench-{plan}", Bench)
            measured = measure(result, plan) if result else []
            found += [Part(f"{plan} {value}", holds, f"bench-{plan}") for value, holds in measured]
        return found

    return parts


def _shares(result: Bench, plan: str) -> list[tuple[str, bool]]:
    target, by_cpu = {"fp32": (0.87, 0.90), "int8": (0.80, 0.84)}[plan]
    each = loop(result, MAIN_CLIENTS)
    if each is None:
        return []
    return [(f"{each.share:.2f}", each.share >= target), (f"by CPU {each.cpu_share:.2f}", each.cpu_share >= by_cpu)]


def _lone(result: Bench, _: str) -> list[tuple[str, bool]]:
    each = loop(result, 1)
    if each is None or each.direct is None or each.load.latency is None:
        return []
    over_ms = each.load.latency.p50_ms - each.direct.latency.p50_ms
    return [(f"{over_ms:.2f} ms", over_ms <= 1.0)]


def _waste(result: Bench, _: str) -> list[tuple[str, bool]]:
    each = loop(result, MAIN_CLIENTS)
    return [(f"{each.service.waste:.1%}", each.service.waste <= 0.08)] if each else []


def _open_loop(result: Bench, _: str) -> list[tuple[str, bool]]:
    low, high = at(result, 0.1), at(result, 0.7)
    if low is None or high is None or low.direct is None or low.load.latency is None or high.load.latency is None:
        return []
    over_direct = low.load.latency.p99_ms / low.direct.latency.p99_ms
    over_low = high.load.latency.p99_ms / low.load.latency.p99_ms
    late = max(low.load.late_p99_ms or 0.0, high.load.late_p99_ms or 0.0)
    note = f", generator {late:.0f} ms late" if late > LATE_MAX_MS else ""
    return [
        (f"{over_direct:.2f}×{note}", over_direct <= 1.5 and not note),
        (f"{over_low:.2f}×", over_low <= 3.0 and not note),
    ]


def _infinity(folder: Path) -> list[Part]:
    result = read(folder, "peers", Peers)
    servers = {server.name: server.many for server in result.servers} if result else {}
    other = servers.get("Infinity, torch")
    found: list[Part] = []
    for plan, faster, sooner in (("fp32", 4.0, 1 / 3), ("int8", 9.0, 1 / 7)):
        ours = servers.get(f"encodery {plan}")
        if ours is None or other is None or ours.latency is None or other.latency is None:
            continue
        rate = ours.requests_per_s / other.requests_per_s
        p99 = ours.latency.p99_ms / other.latency.p99_ms
        found += [
            Part(f"{plan} {rate:.1f}×", rate >= faster, "peers"),
            Part(f"p99 1/{1 / p99:.1f}", p99 <= sooner, "peers"),
        ]
    return found


def _overload(folder: Path) -> list[Part]:
    result = read(folder, "overload", Overload)
    found: list[Part] = []
    for part in result.parts if result else []:
        goodput, accepted, load = part.goodput_share, accepted_share(part), part.load
        refusal_ms = load.shed_latency.p99_ms if load.shed_latency else 0.0
        found += [
            Part(f"{part.engine} {goodput:.2f}", goodput >= {"real": 0.85, "fixed": 0.90}[part.engine], "overload"),
            Part(f"{accepted:.2f}", accepted <= 1.2, "overload"),
            Part(f"{refusal_ms:.0f} ms", refusal_ms <= 50.0, "overload"),
            Part(
                f"{load.shed - load.shed_without_retry_after} of {load.shed} with Retry-After",
                not load.shed_without_retry_after and not unanswered(load),
                "overload",
            ),
        ]
    return found


def _kills(folder: Path) -> list[Part]:
    result = read(folder, "kills", Kills)
    if result is None:
        return []
    lost, ready = unanswered(result.load), [kill.ready_s for kill in result.kills]
    known = [each for each in ready if each is not None]
    slowest = max(known, default=0.0)
    is_back = len(known) == len(ready) and slowest <= 5.0
    return [
        Part(f"{lost} of {result.load.asked:,}", lost == 0, "kills"),
        Part(f"{slowest:.1f} s" if len(known) == len(ready) else "not always", is_back, "kills"),
    ]


def _terms(folder: Path) -> list[Part]:
    result = read(folder, "terms", Terms)
    if result is None:
        return []
    inside, missing = (sum(getattr(term, name) for term in result.terms) for name in ("sent_before", "unanswered"))
    return [Part(f"{missing} of {inside:,}", missing == 0, "terms")]


def _poison(folder: Path) -> list[Part]:
    result = read(folder, "poison", Poison)
    if result is None:
        return []
    return [Part(f"{result.others_right:,} of {result.others:,}", result.others_right == result.others, "poison")]


def _memory(folder: Path) -> list[Part]:
    result = read(folder, "memory", Memory)
    if result is None:
        return []
    parts = [
        Part(
            f"{part.model} {part.growth:.2%}, {'a' if part.has_slope else 'no'} slope",
            part.growth < GROWTH_MAX and not part.has_slope,
            "memory",
        )
        for part in result.parts
    ]
    return [*parts, Part("leak caught" if result.control.caught else "leak missed", result.control.caught, "memory")]


ROWS = (
    Row(
        1,
        "32 clients, single text: requests/s against the ceiling of the same plan; the same in texts per CPU-second, "
        "load generator not counted",
        "≥ 0.87 fp32, ≥ 0.80 int8; ≥ 0.90, ≥ 0.84",
        _of_plans(_shares),
    ),
    Row(
        2,
        "the same against Infinity (torch): requests/s and p99",
        "≥ 4× fp32, ≥ 9× int8; p99 ≤ 1/3, ≤ 1/7",
        _infinity,
    ),
    Row(3, "1 client: p50 minus (tokenise + bare run)", "≤ 1.0 ms", _of_plans(_lone)),
    Row(4, "padding waste at saturation", "≤ 8 %", _of_plans(_waste)),
    Row(
        5,
        "open loop: p99 at 10 % of capacity against direct calls on the same texts; p99 at 70 % against p99 at 10 %",
        "≤ 1.5×; ≤ 3×",
        _of_plans(_open_loop),
    ),
    Row(
        6,
        "overload, 3× the real engine and 10× one of set price: goodput / peak; p99 of accepted / limit; p99 of "
        "refusals",
        "≥ 0.85, ≥ 0.90; ≤ 1.2; ≤ 50 ms, each with Retry-After",
        _overload,
    ),
    Row(
        7,
        "`kill -9` of the engine under half load: accepted requests not answered right; ready again",
        "0; ≤ 5 s",
        _kills,
    ),
    Row(8, "SIGTERM under load: requests that had arrived and were not answered right", "0", _terms),
    Row(9, "a poisoned text in a batch of 32: other requests answered right", "all", _poison),
    Row(
        10,
        "memory of all processes after warm-up; a planted leak",
        "growth < 1 %, no slope in the second half; caught",
        _memory,
    ),
)
