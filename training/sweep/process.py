"""How does one trial run beside the sweep?"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

STOP_TIMEOUT_S = 60.0  # for a step and its checkpoint


@dataclass(frozen=True, slots=True)
class Outcome:
    """`metrics` is the dev metric of each epoch; `error` what the trial failed with, if it did."""

    metrics: list[float]
    was_ended: bool
    error: str = ""


def run_trial(recipe: Path, folder: Path, settings: Sequence[str], goes_on: Callable[[int, float], bool]) -> Outcome:
    """Run a trial in a process of its own, whose checkpoints go to `folder` and are gone after it.

    Args:
        goes_on: told each epoch, from 1, with its dev metric; False ends the trial.
    """
    command = [sys.executable, "-W", "ignore", "-m", "training.sweep.trial", str(recipe), str(folder), *settings]
    metrics: list[float] = []
    was_ended = False
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8") as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                scores = json.loads(line)
                metrics.append(scores[scores["metric"]])
                if not was_ended and not goes_on(len(metrics), metrics[-1]):
                    was_ended = True
                    child.terminate()
            code = child.wait()
        except BaseException:  # Ctrl-C: the trial has no one left to tell
            _end(child)
            raise
        finally:
            rmtree(folder, ignore_errors=True)
        errors.seek(0)
        said = errors.read().strip().splitlines()
    if code == 0 or was_ended:
        return Outcome(metrics, was_ended)
    return Outcome(metrics, was_ended, said[-1] if said else f"it ended with exit code {code}")


def _end(child: "subprocess.Popen[str]") -> None:
    child.terminate()
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
