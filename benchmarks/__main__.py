"""The benchmarks' command line; `python -m benchmarks COMMAND --help` lists the arguments.

    python -m benchmarks bench [--plans fp32 int8]       share of the offline ceiling, latency against load
    python -m benchmarks full [--plans …]                lengths by texts a request by format
    python -m benchmarks chaos [overload kills …]        overload, deaths, poisoned texts, a greedy client, memory
    python -m benchmarks peers [--only NAME …]           other servers on the same machine and texts
    python -m benchmarks front-end | engine-python       CPU of a front end, and of the engine besides the model
    python -m benchmarks schedule | start | quality      rules for batches, simulated; start-up; accuracy
    python -m benchmarks data                            checks of a million rows of training data
    python -m benchmarks.learning                        models trained on public data, for docs/quality.md
    python -m benchmarks docs                            write plots and figures into docs

Results go to benchmarks/results/, or to the folder that --out names, each as soon as it is there. `--resume` leaves out
what was already measured at this commit.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from app.bundle.errors import BundleError
from app.engine.session import DeviceError
from benchmarks.commands import COMMANDS, Step
from benchmarks.generator import LoadError
from benchmarks.learning import report as learning
from benchmarks.machine import head
from benchmarks.report.document import DOCUMENT, fill
from benchmarks.report.plots import draw_all
from benchmarks.schema import RESULTS, write
from benchmarks.server import ServiceError

EXPECTED = (BundleError, DeviceError, LoadError, ServiceError, ValueError, OSError)


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 measured, 1 not all of it, with a line on standard error for each thing that was not."""
    given = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(given)
    if arguments.command == "docs":
        _write_document()
        return 0
    failures = 0
    for step in COMMANDS[arguments.command].steps(arguments):
        failures += not _run(step, arguments, given)
    return 1 if failures else 0


def _run(step: Step, arguments: argparse.Namespace, given: Sequence[str]) -> bool:
    """Measure one thing and write it; False, and a line, if it could not be."""
    path = Path(arguments.out) / f"{step.file}.json"
    if arguments.resume and path.exists() and orjson.loads(path.read_bytes())["origin"]["commit"] == head():
        say(f"{step.file}: measured at this commit already")
        return True
    say(f"== {step.file}")
    try:
        result = step.measure(given, say)
    except EXPECTED as error:
        print(f"benchmarks: {step.file}: {error}", file=sys.stderr, flush=True)
        return False
    if result is not None:
        say(f"written: {write(result, arguments.out)}")
    return True


def _write_document() -> None:
    for path in draw_all():
        say(f"drawn: {path}")
    DOCUMENT.write_text(fill(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    learning.DOCUMENT.write_text(learning.document(), encoding="utf-8")
    say(f"written: {DOCUMENT}, {learning.DOCUMENT}")


def say(line: str) -> None:
    """A line for the person who waits."""
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the service on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.help)
        one.add_argument("--out", type=Path, default=RESULTS, help="folder for the result files")
        one.add_argument("--resume", action="store_true", help="leave out what was measured at this commit")
        command.add_arguments(one)
    commands.add_parser("docs", help="draw the plots and write the figures of the result files into docs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
