"""What do the result files say about the targets under faults and overload?"""

from pathlib import Path

from benchmarks.chaos.common import unanswered
from benchmarks.chaos.fair import RATIO_MAX
from benchmarks.chaos.memory import GROWTH_MAX
from benchmarks.chaos.overload import accepted_share
from benchmarks.generator import LATE_MAX_MS
from benchmarks.report.parts import Part, read
from benchmarks.schema import Fair, Kills, Memory, Overload, Poison, Terms


def overload(folder: Path) -> list[Part]:
    """Goodput, the wait of the accepted, refusals."""
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


def kills(folder: Path) -> list[Part]:
    """What was let in and not answered right, and the slowest return."""
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


def terms(folder: Path) -> list[Part]:
    """What had arrived and was not answered right."""
    result = read(folder, "terms", Terms)
    if result is None:
        return []
    inside, missing = (sum(getattr(term, name) for term in result.terms) for name in ("sent_before", "unanswered"))
    return [Part(f"{missing} of {inside:,}", missing == 0, "terms")]


def poison(folder: Path) -> list[Part]:
    """Those that shared a batch with a poisoned text."""
    result = read(folder, "poison", Poison)
    if result is None:
        return []
    return [Part(f"{result.others_right:,} of {result.others:,}", result.others_right == result.others, "poison")]


def fair(folder: Path) -> list[Part]:
    """What a long queue of another's costs: of the p99 alone, which decides, and of that beside a few requests."""
    result = read(folder, "fair", Fair)
    if result is None:
        return []
    late = max(load.polite.late_p99_ms or 0.0 for each in result.rounds for load in (each.alone, each.few, each.many))
    note = f", generator {late:.0f} ms late" if late > LATE_MAX_MS else ""
    return [
        Part(f"{result.over_idle:.2f}×{note}", result.over_idle <= RATIO_MAX and not note, "fair"),
        Part(f"beside 8 {result.over_busy:.2f}×", True, "fair"),
        Part(f"{result.not_right} of {result.asked:,}", result.not_right == 0, "fair"),
    ]


def memory(folder: Path) -> list[Part]:
    """Growth and slope, and whether the planted leak was seen."""
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
