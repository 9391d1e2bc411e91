"""Which benchmarks are there, what can be said to each, and which result files do they make?

A command is arguments and steps; a step makes one result file. Another benchmark is another entry of `COMMANDS`.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.engine.session import PlanError
from benchmarks import bench, data, engine_python, front_end, full, quality, schedule, start
from benchmarks.chaos import fair, kills, memory, overload, poison, terms
from benchmarks.chaos.common import Options as ChaosOptions
from benchmarks.peers import measure as peers
from benchmarks.phases import Say
from benchmarks.schema import Result

Arguments = argparse.Namespace
Measure = Callable[[Sequence[str], Say], Result | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One result file and what makes it; None: there is nothing to measure here, and `say` heard why."""

    file: str
    measure: Measure


@dataclass(frozen=True, slots=True)
class Command:
    """One benchmark of the command line."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    steps: Callable[[Arguments], Iterator[Step]]


def _of_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder that holds store/")
    parser.add_argument("--model", default="minilm", help="a bundle with an embed head")


def _of_plans(parser: argparse.ArgumentParser) -> None:
    _of_model(parser)
    parser.add_argument("--plans", nargs="+", default=["fp32", "int8"], help="what ENCODERY_PLAN takes, but for auto")


def _bench_arguments(parser: argparse.ArgumentParser) -> None:
    _of_plans(parser)
    parser.add_argument("--seconds", type=float, default=6.0, help="of a closed loop, about")


def _bench(arguments: Arguments) -> Iterator[Step]:
    for plan in arguments.plans:
        options = bench.Options(arguments.models, arguments.model, plan, arguments.seconds)
        yield Step(f"bench-{plan}", _if_offered(plan, partial(bench.measure, options)))


def _full_arguments(parser: argparse.ArgumentParser) -> None:
    _of_plans(parser)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a cell, about")
    parser.add_argument("--tokens", type=int, nargs="+", default=list(full.TOKENS), help="lengths of texts")
    parser.add_argument("--texts", type=int, nargs="+", default=list(full.TEXTS), help="texts a request")


def _full(arguments: Arguments) -> Iterator[Step]:
    for plan in arguments.plans:
        options = full.Options(
            arguments.models, arguments.model, plan, arguments.seconds, arguments.tokens, arguments.texts
        )
        yield Step(f"full-{plan}", _if_offered(plan, partial(full.measure, options)))


def _if_offered(plan: str, measure: Measure) -> Measure:
    """`measure`, or a line where the bundle or the machine has no such plan."""

    def offered(given: Sequence[str], say: Say) -> Result | None:
        try:
            return measure(given, say)
        except PlanError as error:
            say(f"{plan} is left out: {error}")
            return None

    return offered


CHECKS = ("overload", "kills", "terms", "poison", "fair", "memory")


def _chaos_arguments(parser: argparse.ArgumentParser) -> None:
    _of_model(parser)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; all if none is named")
    parser.add_argument("--plan", default="fp32", help="what ENCODERY_PLAN takes, but for auto")
    parser.add_argument("--seconds", type=float, default=30.0, help="of an overload")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--terms", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=100, help="batches with a poisoned text")
    parser.add_argument("--polite-seconds", type=float, default=15.0, help="of each load of the polite client")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of the tiny model, for its memory")
    parser.add_argument("--real-requests", type=int, default=50_000, help="of --model, for its memory")


def _chaos(arguments: Arguments) -> Iterator[Step]:
    if unknown := set(arguments.checks) - set(CHECKS):
        raise SystemExit(f"benchmarks: no check is called {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    options = ChaosOptions(arguments.models, arguments.model, arguments.plan)
    measures: dict[str, Measure] = {
        "overload": partial(overload.measure, options, arguments.seconds),
        "kills": partial(kills.measure, options, arguments.kills),
        "terms": partial(terms.measure, options, arguments.terms),
        "poison": partial(poison.measure, options, arguments.rounds),
        "fair": partial(fair.measure, options, arguments.polite_seconds),
        "memory": partial(memory.measure, options, arguments.requests, arguments.real_requests),
    }
    for check in CHECKS:
        if check in arguments.checks or not arguments.checks:
            yield Step(check, measures[check])


def _peers_arguments(parser: argparse.ArgumentParser) -> None:
    _of_model(parser)
    parser.add_argument("--only", nargs="+", help="names of servers")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a load, about")


def _peers(arguments: Arguments) -> Iterator[Step]:
    options = peers.Options(arguments.models, arguments.model, arguments.only, arguments.clients, arguments.seconds)
    yield Step("peers", partial(peers.measure, options))


def _schedule_arguments(parser: argparse.ArgumentParser) -> None:
    _of_model(parser)
    parser.add_argument("--texts", type=int, default=8000)


def _schedule(arguments: Arguments) -> Iterator[Step]:
    models, model, texts = arguments.models, arguments.model, arguments.texts
    yield Step("schedule", lambda given, _: schedule.measure(models, model, texts, given))


def _start_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder that holds store/")
    parser.add_argument("--repeats", type=int, default=5)


def _start(arguments: Arguments) -> Iterator[Step]:
    yield Step("start", lambda given, say: start.measure(arguments.models, arguments.repeats, given, say))


def _quality_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, nargs="+", default=[Path("models")], help="folders that hold store/")


def _quality(arguments: Arguments) -> Iterator[Step]:
    yield Step("quality", lambda given, _: quality.measure(arguments.models, given))


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000)


def _data(arguments: Arguments) -> Iterator[Step]:
    yield Step("data", lambda given, say: data.measure(arguments.rows, given, say))


def _engine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=30_000, help="for each number of open requests")


def _engine(arguments: Arguments) -> Iterator[Step]:
    yield Step("engine-python", lambda given, _: engine_python.measure(arguments.requests, given))


def _front_end_arguments(parser: argparse.ArgumentParser) -> None:
    _of_model(parser)
    parser.add_argument("--requests", type=int, default=20_000, help="a round")
    parser.add_argument("--rounds", type=int, default=5)


def _front_end(arguments: Arguments) -> Iterator[Step]:
    options = front_end.Options(arguments.models, arguments.model, arguments.requests, arguments.rounds)
    yield Step("front-end", partial(front_end.measure, options))


COMMANDS = {
    "bench": Command("single texts: share of the ceiling, latency against load", _bench_arguments, _bench),
    "full": Command("lengths by texts a request by format", _full_arguments, _full),
    "chaos": Command("overload, deaths, poisoned texts, a greedy client, memory", _chaos_arguments, _chaos),
    "peers": Command("other servers on the same machine and texts", _peers_arguments, _peers),
    "schedule": Command("rules for forming batches, simulated", _schedule_arguments, _schedule),
    "engine-python": Command("CPU of the engine besides running the model", _engine_arguments, _engine),
    "front-end": Command("requests a CPU-second of one front end", _front_end_arguments, _front_end),
    "start": Command("seconds from exec to ready", _start_arguments, _start),
    "quality": Command("accuracy and calibration of the trained classifiers", _quality_arguments, _quality),
    "data": Command("checks of a million rows: seconds and memory", _data_arguments, _data),
}
