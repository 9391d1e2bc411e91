"""What do the result files say about the targets of speed?"""

from collections.abc import Callable
from pathlib import Path

from benchmarks.bench import MAIN_CLIENTS
from benchmarks.generator import LATE_MAX_MS
from benchmarks.report.parts import PLANS, Part, read
from benchmarks.schema import Bench, Closed, Open, Peers


def loop(result: Bench, clients: int) -> Closed | None:
    """The closed loop of so many clients, in the first format."""
    return next((each for each in result.closed if each.load.clients == clients), None)


def at(result: Bench, share: float) -> Open | None:
    """The open loop at a share of the capacity."""
    return next((each for each in result.open_loop if each.load_share == share), None)


def of_plans(measure: Callable[[Bench, str], list[tuple[str, bool]]]) -> Callable[[Path], list[Part]]:
    """The parts of a figure that every plan has."""

    def parts(folder: Path) -> list[Part]:
        found = []
        for plan in PLANS:
            result = read(folder, f"bench-{plan}", Bench)
            measured = measure(result, plan) if result else []
            found += [Part(f"{plan} {value}", holds, f"bench-{plan}") for value, holds in measured]
        return found

    return parts


def shares(result: Bench, plan: str) -> list[tuple[str, bool]]:
    """The share of the ceiling, by time and by CPU."""
    target, by_cpu = {"fp32": (0.87, 0.90), "int8": (0.80, 0.84)}[plan]
    each = loop(result, MAIN_CLIENTS)
    if each is None:
        return []
    return [(f"{each.share:.2f}", each.share >= target), (f"by CPU {each.cpu_share:.2f}", each.cpu_share >= by_cpu)]


def lone(result: Bench, _: str) -> list[tuple[str, bool]]:
    """What a lone request waits for besides tokenising and its run."""
    each = loop(result, 1)
    if each is None or each.direct is None or each.load.latency is None:
        return []
    over_ms = each.load.latency.p50_ms - each.direct.latency.p50_ms
    return [(f"{over_ms:.2f} ms", over_ms <= 1.0)]


def waste(result: Bench, _: str) -> list[tuple[str, bool]]:
    """Padding at saturation."""
    each = loop(result, MAIN_CLIENTS)
    return [(f"{each.service.waste:.1%}", each.service.waste <= 0.08)] if each else []


def open_loop(result: Bench, _: str) -> list[tuple[str, bool]]:
    """p99 at low load against direct calls, and at high load against low."""
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


def infinity(folder: Path) -> list[Part]:
    """Ours against Infinity with torch."""
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
