"""Signals that come early. That they end a service that serves: tests/e2e/test_processes.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.processes.signals import deferred, stop_signals
from tests.e2e.service import ROOT, TINY_MODELS

AT_THE_FOLDER = """
import os, signal, sys, tempfile
from app.__main__ import main

make = tempfile.mkdtemp

def mkdtemp(**named):
    folder = make(**named)
    os.kill(os.getpid(), int(sys.argv[1]))
    return folder

tempfile.mkdtemp = mkdtemp
sys.exit(main(["serve"]))
"""

AT_AN_IMPORT = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "pydantic":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv = ["app", "serve"]
runpy.run_module("app", run_name="__main__")
"""


def run(script: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"ENCODERY_MODELS_DIR": str(TINY_MODELS), "ENCODERY_PORT": "0", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_before_anything_is_started_leaves_no_folder(tmp_path: Path, signum: signal.Signals) -> None:
    ended = run(AT_THE_FOLDER, tmp_path, str(int(signum)))

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_modules_are_imported_leaves_no_traceback(tmp_path: Path) -> None:
    ended = run(AT_AN_IMPORT, tmp_path)

    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


def test_a_closed_terminal_is_no_reason_where_it_is_to_be_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == [signal.SIGTERM, signal.SIGINT]
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stop_signals() == [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def test_deferred_signals_are_noted_and_handlers_come_back() -> None:
    before = [signal.getsignal(signum) for signum in stop_signals()]

    with deferred() as told:
        os.kill(os.getpid(), signal.SIGTERM)

    assert told == [signal.SIGTERM]
    assert [signal.getsignal(signum) for signum in stop_signals()] == before
