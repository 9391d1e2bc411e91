"""Train what is not trained yet, and write the figures; hours, and resumable.

    python -m benchmarks.learning [GOAL …] [--seeds N] [--out FOLDER]

Logs, logits and half-trained models lie in build/learning. `python -m benchmarks docs` then writes docs/quality.md.
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from benchmarks.learning.goals import GOALS
from benchmarks.learning.measure import measure
from benchmarks.learning.schema import Learning
from benchmarks.machine import ROOT
from benchmarks.schema import RESULTS
from training.signals import Terminated, sigterm_as_interrupt

WORK = ROOT / "build" / "learning"


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 all is there, 1 not all of it, 2 wrong usage, 130 interrupted, 143 terminated."""
    given = sys.argv[1:] if argv is None else argv
    parser = _parser()
    arguments = parser.parse_args(given)
    if "ENCODERY_DATA" not in os.environ:
        parser.error("ENCODERY_DATA is not set; export ENCODERY_DATA=FOLDER that has banking77/, clinc150/ …")
    names = [goal.name for goal in GOALS]
    if unknown := [name for name in arguments.goals if name not in names]:
        parser.error(f"no goal is called {', '.join(unknown)}; there are {', '.join(names)}")
    goals = [goal for goal in GOALS if goal.name in arguments.goals or not arguments.goals]
    is_whole = True
    try:
        with sigterm_as_interrupt():
            for goal in goals:
                say(f"== {goal.name}: {goal.title}")
                seeds = goal.seeds[: arguments.seeds]
                keep = partial(write, folder=arguments.out)
                is_whole &= measure(goal, seeds, arguments.work, given, say, keep)
    except KeyboardInterrupt as stopped:
        say("stopped; the same command goes on from here")
        return 143 if isinstance(stopped, Terminated) else 130
    return 0 if is_whole else 1


def write(result: Learning, folder: Path = RESULTS) -> Path:
    """Write one result file, whole or not at all; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"learning-{result.goal}.json"
    part = path.with_suffix(".part")
    part.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return part.replace(path)


def say(line: str) -> None:
    """A line for the person who waits."""
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description="Train, judge, keep figures.")
    parser.add_argument("goals", nargs="*", metavar="GOAL", help="all, if none is named")
    parser.add_argument("--seeds", type=int, help="at most so many of each goal's")
    parser.add_argument("--work", type=Path, default=WORK, help="where runs are kept until they are finished")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
