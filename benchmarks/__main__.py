"""The benchmarks' command line.

    python -m benchmarks                                                      all of it
    python -m benchmarks single-text [--texts N] [--rounds N] [--clients N]   share of the offline ceiling
    python -m benchmarks schedule [--texts N]                                 rules for forming batches, simulated
    python -m benchmarks start [--repeats N]                                  seconds from exec to ready
    python -m benchmarks quality [--models DIR …]                             what the bundles' own reports say
    python -m benchmarks docs                                                 write the figures into docs/benchmarks.md

Results go to benchmarks/results/, or to the folder that --out names.
"""

import argparse
import sys
from pathlib import Path

from app.bundle.errors import BundleError
from benchmarks import quality, schedule, single_text, start
from benchmarks.generator import LoadError
from benchmarks.report import DOCUMENT, fill
from benchmarks.schema import RESULTS, Result, write
from benchmarks.server import ServiceError

ALL = [["single-text"], ["schedule"], ["start"], ["quality"], ["docs"]]


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 measured, 1 not, with one line on standard error."""
    given = sys.argv[1:] if argv is None else argv
    parser = _parser()
    commands = [given] if parser.parse_args(given).command else ALL
    try:
        for command in commands:
            _run(parser.parse_args(command), command)
        return 0
    except (BundleError, LoadError, ServiceError, ValueError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace, given: list[str]) -> None:
    if arguments.command == "docs":
        DOCUMENT.write_text(fill(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
        _say(f"written: {DOCUMENT}")
        return
    result = _measure(arguments, given)
    _say(f"written: {write(result, arguments.out)}")


def _measure(arguments: argparse.Namespace, given: list[str]) -> Result:
    if arguments.command == "quality":
        return quality.measure(arguments.models, given)
    models: Path = arguments.models
    if arguments.command == "start":
        started = start.measure(models, arguments.repeats, given, _say)
        _say(f"median: {started.median_s:.2f} s (target {started.target_s:.0f} s)")
        return started
    if arguments.command == "schedule":
        return schedule.measure(models, arguments.model, arguments.texts, given)
    options = single_text.Options(models, arguments.model, arguments.texts, arguments.rounds, arguments.clients)
    result = single_text.measure(options, given, _say)
    _say(f"median share of the ceiling: {result.medians.share_many:.3f} (target {result.target_share})")
    return result


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the service on this machine.")
    commands = parser.add_subparsers(dest="command")
    single = commands.add_parser("single-text", help="requests of one text, as a share of the offline ceiling")
    single.add_argument("--rounds", type=int, default=3)
    single.add_argument("--clients", type=int, default=32, help="of the phase with many")
    single.add_argument("--texts", type=int, default=1500, help="texts a phase, all different")
    simulated = commands.add_parser("schedule", help="rules for forming batches, simulated")
    simulated.add_argument("--texts", type=int, default=8000)
    for command in (single, simulated):
        command.add_argument("--model", default="minilm", help="a bundle with an embed head")
    later = commands.add_parser("start", help="seconds from exec to ready")
    later.add_argument("--repeats", type=int, default=5)
    for command in (single, simulated, later):
        command.add_argument("--models", type=Path, default=Path("models"), help="folder that holds store/")
        command.add_argument("--out", type=Path, default=RESULTS, help="folder for the result file")
    judged = commands.add_parser("quality", help="accuracy and calibration of the trained classifiers")
    judged.add_argument("--models", type=Path, nargs="+", default=[Path("models")], help="folders that hold store/")
    judged.add_argument("--out", type=Path, default=RESULTS, help="folder for the result file")
    commands.add_parser("docs", help="write the figures of the result files into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
