"""A real service for a test: `python -m app serve` in processes of its own, on a free port, over chosen bundles."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
TINY_MODELS = ROOT / "tests" / "data"
SERVES_ON = re.compile(r"serves on (http://\S+)")


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: its address, its supervisor, and what it printed before it was ready."""

    url: str
    process: subprocess.Popen[str]
    banner: str

    def post(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=60)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60)

    def children(self, module: str) -> list[int]:
        """The process ids of the supervisor's children that run `module`."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [pid for pid in map(int, listed.split()) if module in Path(f"/proc/{pid}/cmdline").read_text()]

    def metric(self, name: str) -> float:
        """The sum of all series of one metric."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[ {{]", line))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def copied_models(tmp_path: Path) -> Path:
    """The tiny bundles in a place where they may be damaged."""
    models_dir = tmp_path / "models"
    shutil.copytree(TINY_MODELS / "store", models_dir / "store")
    return models_dir


@contextmanager
def running(models_dir: Path = TINY_MODELS, **settings: str) -> Iterator[Service]:
    """Start, wait for the banner, and end it whatever happens. `settings` are ENCODERY_ names without the prefix."""
    process = start(models_dir, **settings)
    try:
        yield Service(*_read_banner(process))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()


def start(models_dir: Path = TINY_MODELS, **settings: str) -> subprocess.Popen[str]:
    """The supervisor's process, standard output and error in one pipe."""
    variables = {f"ENCODERY_{name.upper()}": value for name, value in settings.items()}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ENCODERY_")}
    environ |= {"ENCODERY_PORT": "0", "ENCODERY_MODELS_DIR": str(models_dir), **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "app", "serve"],
        cwd=ROOT,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _read_banner(process: subprocess.Popen[str]) -> tuple[str, subprocess.Popen[str], str]:
    assert process.stdout is not None
    printed, url = [], None
    for line in process.stdout:
        printed.append(line)
        if found := SERVES_ON.search(line):
            url = found[1]
        if url and line.strip() == "" and "curl" in "".join(printed):  # an empty line ends the banner
            return url, process, "".join(printed)
    raise AssertionError(f"the service ended before it was ready: {''.join(printed)}")
