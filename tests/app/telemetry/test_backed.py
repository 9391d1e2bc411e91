"""A full disk costs numbers, never a process. The limit on the size of files (RLIMIT_FSIZE) stands for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.telemetry import metrics
from app.telemetry.backed import BackedDict

COUNT = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the refusal is an error then, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
from app.telemetry import metrics
metrics.expired_total.inc(2)
for number in range(2000):
    metrics.texts_total.labels(f"model-{{number}}").inc(3)
print(len([line for line in metrics.render()[0].decode().splitlines() if line.endswith(" 3.0")]))
"""


def count(folder: Path, limit: int) -> tuple[int, str]:
    """Run a process that counts two thousand models; how many are in its /metrics, and what it logged."""
    environment = os.environ | {metrics.MULTIPROCESS_VARIABLE: str(folder)}
    code = COUNT.format(limit=limit)
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout), ran.stderr


def test_numbers_grow_with_their_series(tmp_path: Path) -> None:
    assert count(tmp_path, 2**30) == (2000, "")


@pytest.mark.parametrize("limit", [0, 65_536], ids=["from the start", "later"])
def test_process_counts_on_for_itself_where_there_is_no_room(tmp_path: Path, limit: int) -> None:
    shown, logged = count(tmp_path, limit)

    assert shown < 2000
    assert "are missing from /metrics from now on; make room in" in logged
    assert str(tmp_path) in logged


def test_dictionary_without_a_file_closes_like_any_other(tmp_path: Path) -> None:
    numbers = BackedDict(str(tmp_path / "gone" / "counter_1.db"))
    numbers.close()  # type: ignore[no-untyped-call]  # prometheus_client has no annotations


def test_folder_that_is_gone_is_an_error_and_not_an_empty_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(metrics.MULTIPROCESS_VARIABLE, str(tmp_path / "gone"))

    with pytest.raises(FileNotFoundError):
        metrics.render()


def test_file_that_is_just_being_made_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics.MULTIPROCESS_VARIABLE, str(tmp_path))
    (tmp_path / "counter_1.db").touch()

    assert metrics.render()[0] == b""
