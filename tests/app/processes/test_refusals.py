"""A child that can no longer start: real processes of a few lines, and the reason on its way to callers."""

import asyncio
import os
from pathlib import Path

import pytest

from app.processes import refusals, restarts
from app.processes.process import REFUSALS_MAX, Process, StartError

# Serves for a moment the first time, and refuses from then on; each start leaves a mark.
CHILD = """
import os, sys
from pathlib import Path

marks = Path(sys.argv[1])
notify = int(sys.argv[sys.argv.index("--notify") + 1])
is_first = not any(marks.iterdir())
(marks / str(os.getpid())).touch()
os.write(notify, b"ready\\n" if is_first else b"refused the bundle is broken\\n")
sys.exit(0 if is_first else 78)
"""


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "BACKOFF_S", (0.0,))


def test_a_child_that_refuses_again_and_again_is_given_up_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "refusing.py").write_text(CHILD)
    marks = tmp_path / "marks"
    marks.mkdir()
    heard: list[str | None] = []

    async def check() -> None:
        lifeline = os.open(os.devnull, os.O_RDONLY)
        child = Process(
            "engine",
            ["refusing", str(marks)],
            environ=os.environ | {"PYTHONPATH": str(tmp_path)},
            lifeline=lifeline,
            on_death=lambda _: None,
            on_refusal=heard.append,
        )
        await child.start()
        try:
            async with asyncio.timeout(60):
                await child.keep()
        finally:
            os.close(lifeline)

    with pytest.raises(StartError, match="the engine process refuses to start: the bundle is broken"):
        asyncio.run(check())

    assert len(list(marks.iterdir())) == 1 + REFUSALS_MAX
    assert heard == [None, *["the bundle is broken"] * REFUSALS_MAX]


def test_a_refusal_is_known_until_an_engine_serves(tmp_path: Path) -> None:
    assert refusals.read(tmp_path) is None
    refusals.tell(tmp_path, None)

    refusals.tell(tmp_path, "the bundle is broken")
    assert refusals.read(tmp_path) == "the bundle is broken"

    refusals.tell(tmp_path, None)
    assert refusals.read(tmp_path) is None
