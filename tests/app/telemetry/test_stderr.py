import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.telemetry.stderr import LineWriter

LINE = "x" * 99 + "\n"


@dataclass
class Pipe:
    """A pipe that is read when a test says so."""

    read_end: int
    write_end: int

    def read(self) -> list[str]:
        os.set_blocking(self.read_end, False)
        got = b""
        try:
            while part := os.read(self.read_end, 65536):
                got += part
        except BlockingIOError:
            pass  # empty
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
