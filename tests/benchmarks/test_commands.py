"""The command line: what is measured, what is left out, what is not measured twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks.bench import MOST_TEXTS, text_counts
from benchmarks.commands import COMMANDS, Command, Step
from benchmarks.machine import origin
from benchmarks.schema import Start
from benchmarks.server import ServiceError


def a_start() -> Start:
    return Start(origin=origin(["start"]), models=["m"], target_s=5.0, seconds=[4.0], median_s=4.0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of a command of three things to measure: one that fails, one that is not there, one that is."""
    made: list[str] = []

    def measure(name: str) -> Start | None:
        made.append(name)
        if name == "broken":
            raise ServiceError("it did not start")
        return None if name == "absent" else a_start()

    def steps(_: object) -> Iterator[Step]:
        for name in ("broken", "absent", "start"):
            yield Step(name, lambda _, __, name=name: measure(name))  # type: ignore[misc]  # a default binds the name

    monkeypatch.setitem(COMMANDS, "three", Command("for this test", lambda _: None, steps))
    return made


def test_what_cannot_be_measured_keeps_nothing_else_from_it(
    calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = program.main(["three", "--out", str(tmp_path)])

    assert (code, calls) == (1, ["broken", "absent", "start"])
    assert [path.name for path in tmp_path.iterdir()] == ["start.json"]
    assert "broken: it did not start" in capsys.readouterr().err


def test_a_resumed_command_measures_only_what_has_no_result_of_this_commit(calls: list[str], tmp_path: Path) -> None:
    program.main(["three", "--out", str(tmp_path)])
    calls.clear()

    program.main(["three", "--out", str(tmp_path), "--resume"])
    assert calls == ["broken", "absent"]

    other = a_start().model_copy(update={"origin": origin([]).model_copy(update={"commit": "another"})})
    (tmp_path / "start.json").write_text(other.model_dump_json())
    program.main(["three", "--out", str(tmp_path), "--resume"])
    assert calls[-1] == "start"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_says_what_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main([name, "--help"])

    assert ended.value.code == 0
    assert "--resume" in capsys.readouterr().out


def test_a_fast_machine_gets_fewer_seconds_and_not_the_same_text_twice() -> None:
    slow, fast = text_counts(300, 6.0), text_counts(30_000, 6.0)

    assert sum(slow) < MOST_TEXTS
    assert sum(fast) <= MOST_TEXTS
    assert len(slow) == len(fast)
