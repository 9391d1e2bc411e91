import contextlib
import os
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.telemetry.stderr import PATIENCE_MS, REST_S, ROOM, LineWriter

LINE = "x" * 99 + "\n"
LONG = "x" * (ROOM - 1) + "\n"  # a page of the pipe


@dataclass
class Pipe:
    """A pipe that is read when a test says so."""

    read_end: int
    write_end: int

    def read(self) -> list[str]:
        os.set_blocking(self.read_end, False)
        got = b""
        with contextlib.suppress(BlockingIOError):  # empty
            while part := os.read(self.read_end, 65536):
                got += part
        return got.decode().splitlines(keepends=True)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(*os.pipe())
    yield pipe
    for end in (pipe.read_end, pipe.write_end):
        os.close(end)


def writer_to(pipe: Pipe) -> LineWriter:
    return LineWriter(pipe.write_end, lambda lines: f"{lines} lost\n")


def test_lines_for_which_there_is_no_room_are_dropped_and_counted(pipe: Pipe) -> None:
    writer = writer_to(pipe)
    for _ in range(2000):
        writer.write(LINE)

    kept = pipe.read()
    writer.write("after\n")
    writer.write("again\n")

    assert set(kept) == {LINE}
    assert pipe.read() == [f"{2000 - len(kept)} lost\n", "after\n", "again\n"]


class Polls:
    """Polls for real, waits for nothing, and remembers for how long it was to wait."""

    def __init__(self, fd: int) -> None:
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self.waits: list[int] = []

    def poll(self, wait_ms: int) -> list[tuple[int, int]]:
        if wait_ms:
            self.waits.append(wait_ms)
        return self._poll.poll(0)


def test_a_reader_that_is_always_slow_is_waited_for_once_in_a_while(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    writer, polls = LineWriter(pipe.write_end, lambda _: LONG, lambda: now_s), Polls(pipe.write_end)
    monkeypatch.setattr(writer, "_poll", polls)

    for _ in range(100):
        writer.write(LONG)
    for _ in range(20):
        os.read(pipe.read_end, len(LONG))  # room for one more, which the notice takes
        writer.write(LONG)
    assert polls.waits == [PATIENCE_MS]
    now_s += REST_S
    os.read(pipe.read_end, len(LONG))
    writer.write(LONG)

    assert polls.waits == [PATIENCE_MS] * 2


def test_room_that_another_process_took_is_not_waited_for(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """What poll(2) said is no longer true; the parent's end stays as it is."""
    writer = writer_to(pipe)
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_has_room", lambda _: True)
        for _ in range(2000):
            writer.write(LINE)

    kept = pipe.read()
    writer.write("after\n")

    assert pipe.read() == [f"{2000 - len(kept)} lost\n", "after\n"]
    assert os.get_blocking(pipe.write_end)


def test_a_file_is_shared_with_whoever_else_writes_to_it(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb", buffering=0) as file:
        file.write(b"before\n")
        LineWriter(file.fileno(), str).write("ours\n")
        file.write(b"after\n")

    assert (tmp_path / "log").read_text() == "before\nours\nafter\n"


def test_a_socket_is_written_to_as_it_is() -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        LineWriter(writer.fileno(), str).write("line\n")

        assert reader.recv(100) == b"line\n"


def test_a_line_longer_than_the_room_waits_for_no_one(pipe: Pipe) -> None:
    writer = writer_to(pipe)

    writer.write("y" * 200_000 + "\n")

    assert sum(map(len, pipe.read())) < 200_000
    writer.write("after\n")
    assert pipe.read()[-2:] == ["1 lost\n", "after\n"]


def test_a_long_line_is_written_whole_where_there_is_room(pipe: Pipe) -> None:
    writer_to(pipe).write("y" * 20_000 + "\n")

    assert pipe.read() == ["y" * 20_000 + "\n"]


def test_a_reader_that_is_gone_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)

    LineWriter(write_end, str).write("to nobody\n")

    os.close(write_end)


def test_what_is_no_text_is_written_escaped(pipe: Pipe) -> None:
    writer_to(pipe).write("a lone surrogate: \ud800\n")

    assert pipe.read() == ["a lone surrogate: \\ud800\n"]
