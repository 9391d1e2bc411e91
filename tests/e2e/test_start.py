"""What the start of a service refuses, with one line for the person who reads it, and what it sees to."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from app.processes import process, supervisor
from app.processes.process import Process, StartError
from app.settings import Settings
from tests.e2e.service import ROOT, TINY_MODELS, copied_models, running, start

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"PORTT": "1"}, "ENCODERY_PORT"),
        ({"PORT": "many"}, "ENCODERY_PORT"),
        ({"MODELS_DIR": "/nowhere"}, "no bundles in /nowhere/store"),
        ({"MODELS_DIR": "/" + "d" * 300}, "cannot be read (File name too long); set ENCODERY_MODELS_DIR"),
        ({"DEVICE": "cuda"}, "ENCODERY_DEVICE=cuda"),
    ],
    ids=["unknown name", "bad value", "no bundles", "no such name", "no such device"],
)
def test_a_bad_setting_stops_the_start_with_one_line(settings: dict[str, str], message: str) -> None:
    models_dir = Path(settings.pop("MODELS_DIR", TINY_MODELS))
    process = start(models_dir, **settings)
    output, _ = process.communicate(timeout=60)

    line = output.strip().splitlines()[-1]
    assert process.returncode == 1
    assert line.startswith("encodery: ")
    assert message in line
    assert "Traceback" not in output


def test_a_limit_on_descriptors_that_is_too_low_stops_the_start_with_one_line() -> None:
    command = ["sh", "-c", 'ulimit -n 16; exec "$0" -m app serve', sys.executable]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ran.returncode == 1
    assert ran.stderr == "encodery: a process may open 16 files and sockets here; allow at least 256 (`ulimit -n`)\n"


def test_the_soft_limit_on_descriptors_is_raised_as_far_as_it_may_be() -> None:
    """1,024 is the usual one, and each caller takes a descriptor."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
    try:
        with running() as service:
            front_end = service.children("app.processes.frontend")[0]
            assert resource.prlimit(front_end, resource.RLIMIT_NOFILE)[0] == min(65_536, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_busy_port_stops_the_start_with_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(port=str(port))
        output, _ = process.communicate(timeout=60)

    assert (process.returncode, output.count("\n")) == (1, 1)
    assert f"port {port} on 127.0.0.1 is in use; set ENCODERY_PORT" in output


def test_a_refused_bundle_stops_the_start_with_one_line(tmp_path: Path) -> None:
    """The engine and the front end both read it; neither may show a traceback."""
    models_dir = copied_models(tmp_path)
    (models_dir / "store" / "tiny-encoder" / "1" / "manifest.json").write_bytes(b"\xff" * 2**20)
    process = start(models_dir)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("encodery: [B01-manifest]")


@pytest.mark.parametrize(("name", "message"), [("d" * 110, "too long"), ("missing", "no folder")], ids=["long", "none"])
def test_a_place_without_room_for_the_socket_stops_the_start(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ("d" * 110)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))

    with socket.socket() as listener, pytest.raises(StartError, match=message):
        supervisor.run(Settings(), [], listener)


def test_a_child_that_never_gets_ready_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nothing would start another in its place."""
    monkeypatch.setattr(process, "START_S", 0.0)

    async def start_and_wait() -> int:
        common = ["--runtime", "none", "--engines", "1", "--number", "0"]
        arguments = ["app.processes.frontend", *common, "--listen", "0", "tiny-encoder@1"]
        child = Process("front-end", arguments, environ=os.environ, lifeline=0, on_death=lambda _: None)
        with pytest.raises(StartError, match="not ready within"):
            await child.start()
        assert child._process is not None
        return await child._process.wait()

    assert asyncio.run(start_and_wait()) == -signal.SIGKILL
