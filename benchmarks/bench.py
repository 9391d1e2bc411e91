"""What does the service make of its machine? Closed loops against the ceiling, then an open loop up to the knee.

One plan at a time. Every closed loop stands between two runs of the ceiling over the very texts that it sends, and
their mean counts: a machine that gets slower or faster meanwhile changes all three. Then requests at set times, from a
tenth of what was reached to all of it, each rate beside direct calls on its texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

from app.engine.cpu_plans import Setting
from benchmarks.ceiling import FINALISTS, Ceiling, open_plan
from benchmarks.judge import Format
from benchmarks.machine import origin
from benchmarks.models import alone
from benchmarks.phases import Say, Target, line, scratch
from benchmarks.schema import Bench, CeilingFigures, Closed, Direct, Open, Plan
from benchmarks.server import pinned, running
from benchmarks.texts import SEED, Counted, describe, draw, spread

MAIN_CLIENTS = 32  # the loop that figures are about lasts longest
LOAD_SHARES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
KNEE = 3.0  # times the p99 at the lowest rate
MOST_TEXTS = 64_000  # all that are different and not joined from two
SWEEP_TEXTS, WARM_TEXTS = 320, 1000
OPEN_TEXTS, OPEN_MAX_S = 1000, 25.0  # under a thousand, p99 would be a handful of requests
DIRECT_TEXTS = 1000
PAUSED_S = 7.0  # of direct calls as far apart as requests are
DIRECT_SHARES = (0.1,)  # of the open loop: the rates that are compared with direct calls


@dataclass(frozen=True, slots=True)
class Loop:
    """One closed loop: how long it lasts, and how much of the ceiling so many clients are likely to reach."""

    clients: int
    format: Format
    length: float
    share: float


LOOPS = (
    Loop(1, "base64", 1.0, 0.4),
    Loop(8, "base64", 1.0, 0.7),
    Loop(MAIN_CLIENTS, "base64", 2.0, 0.85),
    Loop(MAIN_CLIENTS, "json", 1.0, 0.85),
    Loop(128, "base64", 1.0, 0.85),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What one run is asked for."""

    models_dir: Path
    model: str
    plan: Setting
    seconds: float  # of a closed loop, about


def measure(options: Options, command: Sequence[str], say: Say) -> Bench:
    """Run it all; `say` gets a line for every step.

    Raises:
        BundleError, DeviceError, ServiceError, LoadError, ValueError: with the reason.
    """
    opened = open_plan(options.models_dir, options.model, options.plan)
    ceiling = Ceiling(opened)
    first = draw(ceiling.tokens, opened.manifest.max_tokens, SWEEP_TEXTS + WARM_TEXTS)
    sweep = ceiling.sweep([text.text for text in first[:SWEEP_TEXTS]])
    for figures in sweep[:FINALISTS]:
        say(f"ceiling {_way(figures.plan)}: {figures.texts_per_s:.0f} texts/s")
    counts = text_counts(sweep[0].texts_per_s, options.seconds)
    texts = draw(ceiling.tokens, opened.manifest.max_tokens, len(first) + sum(counts))[len(first) :]
    supply = iter(spread(texts, SEED))
    parts = [list(islice(supply, count)) for count in counts]
    models = alone(options.models_dir, options.model)
    with scratch() as folder, running(models, pinned(options.plan)) as service:
        target = Target(service, options.model, opened.head.dimensions, ceiling, folder)
        plan_name = service.plan(options.model)
        say(f"the service is ready after {service.start_s:.1f} s; it runs {plan_name}")
        target.closed(first[SWEEP_TEXTS:], MAIN_CLIENTS)
        ways = [each.plan for each in sweep[:FINALISTS]]
        closed = [_closed(target, ways, part, loop, say) for loop, part in zip(LOOPS, parts, strict=False)]
        capacity = max(each.load.texts_per_s for each in closed)
        rest = zip(LOAD_SHARES, parts[len(LOOPS) :], strict=True)
        open_loop = [_open(target, part, share, capacity, say) for share, part in rest]
        device = service.device()
    return Bench(
        plan=options.plan,
        plan_name=plan_name,
        origin=origin(command),
        model=options.model,
        device=device,
        corpus=describe(texts),
        sweep=sweep,
        closed=closed,
        capacity_per_s=capacity,
        open_loop=open_loop,
        knee_per_s=knee(open_loop),
    )


def knee(open_loop: Sequence[Open]) -> float | None:
    """The highest rate offered up to which all was answered right, with p99 within `KNEE` times that at the lowest."""
    reached, limit_ms = None, None
    for each in open_loop:
        if each.load.latency is None or each.load.not_right:
            break
        limit_ms = limit_ms or KNEE * each.load.latency.p99_ms
        if each.load.latency.p99_ms > limit_ms:
            break
        reached = each.load.offered_per_s
    return reached


def text_counts(rate: float, seconds: float) -> list[int]:
    """How many texts each phase gets, closed loops first, on a machine whose ceiling is `rate`."""
    closed = [loop.share * loop.length * seconds * rate for loop in LOOPS]
    opened = [min(max(OPEN_TEXTS, share * rate * seconds), OPEN_MAX_S * share * rate) for share in LOAD_SHARES]
    fitting = min(1.0, MOST_TEXTS / (sum(closed) + sum(opened)))
    return [max(MAIN_CLIENTS, int(fitting * count)) for count in closed + opened]


def _closed(target: Target, ways: Sequence[Plan], texts: Sequence[Counted], loop: Loop, say: Say) -> Closed:
    plain, ceiling = [text.text for text in texts], target.ceiling
    before, called = _ceiling(ceiling, plain, ways), _direct(ceiling, plain, loop.clients)
    load, service = target.asking(loop.format).closed(texts, loop.clients)
    again = _direct(ceiling, plain, loop.clients)
    after = _ceiling(ceiling, plain, ways)
    closed = Closed(before=before, after=after, direct=_mean(called, again), load=load, service=service)
    direct = f"; direct p50 {closed.direct.latency.p50_ms:.2f} ms" if closed.direct else ""
    say(
        f"{loop.clients} clients, {loop.format}: {line(load)}; {closed.share:.3f} of the ceiling, "
        f"{closed.cpu_share:.3f} by CPU, waste {service.waste:.1%}, rows {service.rows_mean}{direct}"
    )
    return closed


def _ceiling(ceiling: Ceiling, texts: Sequence[str], ways: Sequence[Plan]) -> CeilingFigures:
    """Over all texts in the best way; which one that is, a part of them says."""
    best = ceiling.best(texts[: max(64, len(texts) // 6)], ways)
    return ceiling.measure(texts, best.plan)


def _direct(ceiling: Ceiling, texts: Sequence[str], clients: int) -> Direct | None:
    return ceiling.direct(texts[:DIRECT_TEXTS]) if clients == 1 else None


def _mean(before: Direct | None, after: Direct | None) -> Direct | None:
    if before is None or after is None:
        return None
    pairs = zip(before.latency.model_dump().items(), after.latency.model_dump().values(), strict=True)
    mean = {name: round(fmean((one, other)), 3) for (name, one), other in pairs}
    return Direct.model_validate({"runner": before.runner, "latency": mean})


def _open(target: Target, texts: Sequence[Counted], share: float, capacity: float, say: Say) -> Open:
    direct, paused, called = None, None, ""
    if share in DIRECT_SHARES:
        plain, rate = [text.text for text in texts[:DIRECT_TEXTS]], share * capacity
        direct = target.ceiling.direct(plain)
        paused = target.ceiling.direct(plain[: int(rate * PAUSED_S)], 1 / rate)
        called = f"; direct p99 {direct.latency.p99_ms:.1f} ms, after pauses {paused.latency.p99_ms:.1f} ms"
    load, service = target.open(texts, share * capacity)
    say(f"open loop at {share:.0%}, {load.offered_per_s}/s: {line(load)}{called}")
    return Open(load_share=share, direct=direct, paused=paused, load=load, service=service)


def _way(plan: Plan) -> str:
    return f"(batch {plan.batch}, {plan.lanes} lanes of {plan.threads} threads)"
