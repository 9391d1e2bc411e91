"""Which container engine is here, and how is docker-compose.yml built, started and asked?

docker or podman, whichever answers. The environment may say otherwise:
    CONTAINER_ENGINE   the engine's command
    CONTAINER_COMPOSE  the compose command; by default `docker compose`, `podman-compose` or `podman compose`
    CONTAINER_BUILD    a command that takes `--target T -t IMAGE .`; by default compose builds the images itself
BASE_IMAGE and TORCH_INDEX reach the build as docker-compose.yml says.
"""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGETS = {"training": "encodery:training", "app-cpu": "encodery:cpu"}  # of the services that start by default
HEALTHY_S = 120.0
POLL_S = 1.0


class NoEngineError(Exception):
    """There is nothing here to build or run containers with; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The commands of one container engine."""

    name: str
    compose: Sequence[str]


def find_engine() -> Engine:
    """The engine that answers on this machine.

    Raises:
        NoEngineError: neither docker nor podman does, or it has no compose.
    """
    wanted = os.environ.get("CONTAINER_ENGINE")
    for name in [wanted] if wanted else ["docker", "podman"]:
        if shutil.which(name) and _succeeds([name, "info"]):
            return Engine(name, _compose(name))
    raise NoEngineError(f"{wanted or 'neither docker nor podman'} answers `info` here; install one and start it")


def _compose(engine: str) -> list[str]:
    if "CONTAINER_COMPOSE" in os.environ:
        return shlex.split(os.environ["CONTAINER_COMPOSE"])
    candidates = [["docker", "compose"]] if engine == "docker" else [["podman-compose"], ["podman", "compose"]]
    for command in candidates:
        if shutil.which(command[0]) and _succeeds([*command, "version"]):
            return command
    raise NoEngineError(f"{engine} is here, but none of {[' '.join(c) for c in candidates]} works; install one")


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


@dataclass(frozen=True, slots=True)
class Stack:
    """One start of docker-compose.yml under a project name of its own, published on `port`."""

    engine: Engine
    project: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def build(self) -> None:
        """Make the images of the services that start by default."""
        if "CONTAINER_BUILD" not in os.environ:
            self._compose("build")
            return
        for target, image in TARGETS.items():
            command = [*shlex.split(os.environ["CONTAINER_BUILD"]), "--target", target, "-t", image, "."]
            subprocess.run(command, cwd=ROOT, check=True)

    def up(self) -> None:
        """Start it, bundles first; returns when the service's health check passes.

        Raises:
            TimeoutError: it did not within `HEALTHY_S`.
        """
        self._compose("up", "-d", "--no-build")
        deadline_s = time.monotonic() + HEALTHY_S
        while not self._is_healthy():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"the service is not healthy {HEALTHY_S:.0f} s after its start")
            time.sleep(POLL_S)  # what it waits for is another machine's work, as far as this process can tell

    def down(self) -> None:
        """Stop and remove it, its volumes too."""
        self._compose("logs")
        self._compose("down", "--volumes")

    def container(self, service: str) -> str:
        """The id of the service's container."""
        labels = {"com.docker.compose.project": self.project, "com.docker.compose.service": service}
        filters = [f"--filter=label={key}={value}" for key, value in labels.items()]
        return self._ask("ps", "--all", "--quiet", *filters).split()[0]

    def python(self, service: str, code: str) -> str:
        """What `code` prints when the container's Python runs it."""
        return self._ask("exec", self.container(service), "python3", "-c", code).strip()

    def inspect(self, service: str, template: str) -> str:
        """A field of the container's state, as a Go template names it."""
        return self._ask("inspect", "--format", template, self.container(service)).strip()

    def exit_code(self, service: str) -> int:
        """How a service that comes to an end by itself ended; waits for it."""
        return int(self._ask("wait", self.container(service)))

    def _is_healthy(self) -> bool:
        if "podman" in self.engine.name:  # without systemd nothing runs podman's health checks but this
            return _succeeds([self.engine.name, "healthcheck", "run", self.container("app")])
        return self.inspect("app", "{{.State.Health.Status}}") == "healthy"

    def _compose(self, *arguments: str) -> None:
        command = [*self.engine.compose, "-p", self.project, *arguments]
        subprocess.run(command, cwd=ROOT, env=self._environ(), check=True)

    def _ask(self, *arguments: str) -> str:
        return subprocess.run([self.engine.name, *arguments], check=True, capture_output=True, text=True).stdout

    def _environ(self) -> Mapping[str, str]:
        return {**os.environ, "ENCODERY_PORT": str(self.port)}
