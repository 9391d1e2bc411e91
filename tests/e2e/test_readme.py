"""Every block of README.md, run as a reader would, in the order it stands there."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.service import ROOT, free_port

pytestmark = pytest.mark.slow

FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
BLOCKS = FENCE.findall((ROOT / "README.md").read_text())
OF_MAKE = {"ARGS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # what `make test` leaves to a make inside it
VARIES = {"request_id"}
TICKETS = {  # team → what people write to it
    "cards": ["my card was declined", "the card is lost", "when does my new card arrive", "the card was swallowed"],
    "transfers": ["the transfer failed", "my transfer is pending", "cancel a transfer", "a transfer is missing"],
    "accounts": ["close my account", "I cannot log in", "change my address", "open a second account"],
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody in a clone of their own, with a port of their own. The packages are those of this environment."""

    clone: Path
    port: int

    def run(self, script: str) -> str:
        """What a script of README.md prints."""
        done = subprocess.run(
            ["bash", "-euc", self._here(script)], cwd=self.clone, env=self._environ(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self) -> subprocess.Popen[bytes]:
        """`make serve`, and return when it is ready."""
        with (self.clone / "serve.log").open("wb") as log:
            process = subprocess.Popen(
                ["make", "serve"], cwd=self.clone, env=self._environ(), stdout=log, stderr=log, start_new_session=True
            )
        deadline_s = time.monotonic() + 120
        while not self._is_ready():
            assert process.poll() is None, (self.clone / "serve.log").read_text()
            assert time.monotonic() < deadline_s, (self.clone / "serve.log").read_text()
        return process

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _here(self, script: str) -> str:
        return script.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")

    def _environ(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
        return {**ours, "ENCODERY_PORT": str(self.port), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, default_store: Path) -> Reader:
    clone = tmp_path_factory.mktemp("readme") / "encodery"
    for name in ("app", "training", "models/recipes"):
        shutil.copytree(ROOT / name, clone / name)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        os.utime(shutil.copy(ROOT / name, clone / name), (0, 0))  # old: `make` must not install the clone here
    shutil.copytree(default_store, clone / "models" / "store")
    (clone / ".venv").symlink_to(Path(sys.executable).parents[1])
    return Reader(clone, free_port())


@pytest.fixture
def serving(reader: Reader) -> Iterator[Callable[[], None]]:
    """Starts the service when it is called; ends it after the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield lambda: started.append(reader.serve())
    for process in started:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def blocks(language: str, word: str) -> list[str]:
    return [body for found, body in BLOCKS if found == language and word in body]


def answer_after(block: str) -> dict[str, Any]:
    """The JSON block that follows `block` in README.md."""
    position = [body for _, body in BLOCKS].index(block)
    language, body = BLOCKS[position + 1]
    assert language == "json"
    return json.loads(body)  # type: ignore[no-any-return]  # JSON


def same(shown: object, got: object) -> bool:
    """Whether README.md shows this answer: numbers to 3 decimals, ids and fingerprints by their kind."""
    if isinstance(shown, dict) and isinstance(got, dict):
        return shown.keys() == got.keys() and all(key in VARIES or same(shown[key], got[key]) for key in shown)
    if isinstance(shown, list) and isinstance(got, list):
        return len(shown) == len(got) and all(map(same, shown, got))
    if isinstance(shown, float) and isinstance(got, float):
        return abs(shown - got) < 0.05  # a classifier trained elsewhere is the same to some percent, not to the bit
    return shown == got


def test_the_first_block_is_clone_and_serve() -> None:
    clone, serve = BLOCKS[0][1].strip().splitlines()

    assert clone.startswith("git clone ")
    assert serve == "make serve"


def test_every_question_gets_the_answer_that_stands_there(reader: Reader, serving: Callable[[], None]) -> None:
    questions = [block for block in blocks("sh", "curl") if "tickets" not in block]
    assert len(questions) == 3
    serving()

    for block in questions:
        shown, answer = answer_after(block), json.loads(reader.run(block))
        for prediction in [*shown.get("predictions", []), *answer.get("predictions", [])]:
            del prediction["scores"][1]  # the runner-up varies with the machine that trained; the best label does not
        assert same(shown, answer), answer


@pytest.mark.long
def test_a_csv_of_ones_own_becomes_an_endpoint(reader: Reader, serving: Callable[[], None]) -> None:
    train, ask = blocks("sh", "tickets")
    rows = [f"{text} {n},{team}" for team, texts in TICKETS.items() for text in texts for n in range(8)]
    (reader.clone / "tickets.csv").write_text("message,team\n" + "\n".join(rows) + "\n")
    assert train.rstrip().endswith("make serve")

    reader.run(train.rstrip().removesuffix("make serve"))
    serving()
    answer = json.loads(reader.run(ask))

    assert answer["predictions"][0]["scores"][0]["label"] == "cards"


def test_the_tree_names_what_there_is() -> None:
    (tree,) = blocks("", "models/recipes/")
    top = ""
    for line in tree.strip().splitlines():
        name = line.split()[0]
        top = top if line.startswith(" ") else name
        path = ROOT / top / name if line.startswith(" ") else ROOT / name
        assert path.exists() or name.startswith("models/store"), name
