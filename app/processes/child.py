"""What does a child process owe its supervisor?

It says once that it is ready, on the `notify` pipe, and it ends when the supervisor does, however that died: the
`lifeline` pipe, whose other end the supervisor holds, then reads as closed. Works on every Unix, unlike PDEATHSIG.
"""

import argparse
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from app.processes import heap
from app.types import ModelKey

ORPHAN_EXIT = 3
REFUSED_EXIT = 78  # EX_CONFIG of sysexits.h: starting again would not help


@dataclass(frozen=True, slots=True)
class Child:
    """What ties this child to its supervisor: two pipes and a folder."""

    lifeline: int
    notify: int
    runtime: Path  # the supervisor's folder; an orphan removes it, for nobody else will

    def watch_supervisor(self) -> None:
        """From now on, end this process as soon as the supervisor is gone."""
        threading.Thread(target=self._wait_for_end, name="lifeline", daemon=True).start()

    def ready(self) -> None:
        """Tell the supervisor that this child serves."""
        os.write(self.notify, b"ready\n")
        os.close(self.notify)

    def refuse(self, reason: str) -> int:
        """Tell the supervisor why this child will never serve; returns the exit code to end with."""
        os.write(self.notify, b"refused " + reason.replace("\n", " ").encode() + b"\n")
        os.close(self.notify)
        return REFUSED_EXIT

    def _wait_for_end(self) -> None:
        os.read(self.lifeline, 1)  # nothing is ever written: this returns when the supervisor's end closes
        shutil.rmtree(self.runtime, ignore_errors=True)
        os._exit(ORPHAN_EXIT)


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The arguments that the supervisor gives to every child."""
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--notify", type=int, required=True)
    parser.add_argument("--runtime", type=Path, required=True, help="the supervisor's folder")
    parser.add_argument("--engines", type=int, required=True, help="how many engines there are")
    parser.add_argument("--number", type=int, required=True, help="which of its kind this child is, from 0")
    models = "what to serve; of several versions of a name, the first is its default"
    parser.add_argument("models", nargs="+", type=_model_key, metavar="NAME@VERSION", help=models)
    return parser


def begin(arguments: argparse.Namespace) -> Child:
    """This process as a child, from here on watching its supervisor."""
    child = Child(arguments.lifeline, arguments.notify, arguments.runtime)
    heap.keep_small()
    child.watch_supervisor()
    return child


def engine_socket(runtime: Path, number: int) -> Path:
    """Where engine `number` listens."""
    return runtime / f"engine-{number}.sock"


def board_file(runtime: Path) -> Path:
    """Where front ends write what they have let in (app/serving/board.py)."""
    return runtime / "board"


def _model_key(text: str) -> ModelKey:
    name, version = text.rsplit("@", 1)
    return ModelKey(name, int(version))
