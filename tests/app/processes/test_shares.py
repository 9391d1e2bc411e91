"""What one of several processes counts on, and what it leaves behind."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.processes import engine
from app.processes.child import board_file
from app.processes.supervisor import Supervisor
from app.serving.board import SharedBoard
from app.settings import Settings
from app.telemetry import metrics
from app.types import ModelKey

KEY = ModelKey("tiny-encoder", 1)


@pytest.mark.parametrize(("share", "expected"), [(1, 4), (2, 2), (3, 1), (8, 1)])
def test_an_engine_counts_on_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch, share: int, expected: int) -> None:
    counted: list[int] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr("app.engine.cores._quota", lambda _: 4.0)
    monkeypatch.setattr(engine, "_load", lambda *given: counted.append(given[3]))

    engine.load_all(Settings(device="cpu"), [KEY], share=share)

    assert counted == [expected]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        yield listener


def test_the_work_of_a_front_end_that_dies_is_no_longer_counted(
    tmp_path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "forget", lambda _: None)
    supervisor = Supervisor(Settings(workers=2), [KEY], listener, tmp_path)
    boards = [SharedBoard(board_file(tmp_path), number) for number in range(2)]
    for board in boards:
        board.add(0, 1000.0)

    supervisor._front_ends[1]._on_death(12345)

    assert boards[0].total_ms() == 1000.0


def test_front_end_without_room_for_the_board_serves_by_its_own_load(tmp_path: Path) -> None:
    """A path under a file cannot be made, whoever asks; it stands for a full disk."""
    (tmp_path / "file").touch()
    board = SharedBoard(tmp_path / "file/board", 0)

    board.add(0, 1000.0)

    assert board.total_ms() == 1000.0
