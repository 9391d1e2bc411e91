"""Processes whose standard streams are closed, full, or read by nobody."""

import os
import subprocess
import sys

import pytest

from tests.e2e.service import ROOT

TWICE = "from app.processes.streams import say; say('one'); say('two')"
SHOW = """
import os, sys
from app.processes.streams import open_missing

open_missing()
print("said")
print("told", file=sys.stderr)
os.write(int(os.environ["SEEN"]), "\\n".join(os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)).encode())
"""


def test_an_output_that_is_full_is_told_once_and_ends_nothing() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        ended = subprocess.run([sys.executable, "-c", TWICE], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)

    assert ended.returncode == 0
    assert ended.stderr == ("standard output takes nothing (No space left on device); what would stand there is lost\n")


def test_an_output_that_nobody_reads_is_told_once_and_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([sys.executable, "-c", TWICE], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)

    assert ended.returncode == 0
    assert ended.stderr == "standard output takes nothing (Broken pipe); what would stand there is lost\n"


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]], ids=str)
def test_streams_that_are_closed_lead_nowhere(closed: list[int]) -> None:
    seen, tell = os.pipe()
    closing = " ".join(f"{fd}>&-" for fd in closed)
    command = ["sh", "-c", f'exec "$0" -c "$1" {closing}', sys.executable, SHOW]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | {"SEEN": str(tell)}, pass_fds=[tell])
    os.close(tell)
    targets = os.read(seen, 4096).decode().splitlines()
    os.close(seen)

    assert ended.returncode == 0
    assert [targets[fd] for fd in closed] == [os.devnull] * len(closed)
