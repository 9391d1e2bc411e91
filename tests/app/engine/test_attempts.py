"""A plan that two engines died of is left out; whatever else stays in the file is no death."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.engine.attempts import Attempts, open_attempts
from app.engine.cuda_errors import DeviceLostError
from app.types import ModelKey

KEY = ModelKey("tiny-encoder", 1)
DYING = """
import os, sys
from pathlib import Path
from app.engine.attempts import Attempts

with Attempts(Path(sys.argv[1])).of(sys.argv[2]):
    os._exit(1)
"""


def die_of(plan: str, path: Path) -> None:
    subprocess.run([sys.executable, "-c", DYING, str(path), plan], check=False, timeout=60)


def lose_device_to(plan: str, path: Path) -> None:
    with pytest.raises(DeviceLostError), Attempts(path).of(plan):
        raise DeviceLostError("planted")


def test_processes_that_die_without_a_word_leave_the_name(tmp_path: Path) -> None:
    path = tmp_path / "attempts.json"

    die_of("plan", path)
    once = Attempts(path).deadly()
    die_of("plan", path)

    assert (once, Attempts(path).deadly()) == ([], ["plan"])


def test_one_process_that_begins_anew_counts_each_time(tmp_path: Path) -> None:
    path = tmp_path / "attempts.json"

    lose_device_to("other", path)
    lose_device_to("plan", path)
    lose_device_to("plan", path)

    assert Attempts(path).deadly() == ["plan"]


def test_a_try_that_ends_crosses_out_earlier_deaths(tmp_path: Path) -> None:
    path = tmp_path / "attempts.json"
    lose_device_to("plan", path)

    with Attempts(path).of("plan"):
        pass
    lose_device_to("plan", path)

    assert Attempts(path).deadly() == []


def test_ctrl_c_during_a_try_is_no_death(tmp_path: Path) -> None:
    path = tmp_path / "attempts.json"

    with pytest.raises(KeyboardInterrupt), Attempts(path).of("plan"):
        raise KeyboardInterrupt

    assert path.read_text() == "[]"


def test_a_try_of_a_process_that_lives_is_no_death_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "attempts.json"
    alive = os.getppid()
    path.write_text(f'[["plan", {alive}], ["plan", {alive}]]')

    with Attempts(path).of("plan"):
        pass

    assert Attempts(path).deadly() == []
    assert path.read_text() == f'[["plan", {alive}], ["plan", {alive}]]'


@pytest.mark.parametrize("text", ['["half', '["packed-qkv"]', "7", '[["plan"]]', '[["plan", "pid"]]'])
def test_a_file_that_is_none_of_ours_counts_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "attempts.json"
    path.write_text(text)

    assert Attempts(path).deadly() == []


def test_each_engine_has_a_file_of_its_own(tmp_path: Path) -> None:
    with open_attempts([tmp_path], KEY, 0).of("plan"), open_attempts([tmp_path], KEY, 1).of("plan"):
        names = sorted(file.name for file in tmp_path.iterdir())

    assert names == ["tiny-encoder@1.engine-0.attempts.json", "tiny-encoder@1.engine-1.attempts.json"]


def test_where_the_first_folder_cannot_be_written_the_next_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")

    with open_attempts([tmp_path / "file" / "plans", tmp_path / "runtime"], KEY, 0).of("plan"):
        pass

    assert (tmp_path / "runtime" / "tiny-encoder@1.engine-0.attempts.json").exists()
    assert caplog.text.count("cannot be written") == 1
