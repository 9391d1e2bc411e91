import os
from pathlib import Path

import pytest

from app.engine.cores import cores


@pytest.fixture(autouse=True)
def _many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("200000 100000\n", 2, id="two"),
        pytest.param("150000 100000\n", 2, id="one and a half"),
        pytest.param("10000 100000\n", 1, id="a tenth"),
        pytest.param("9900000 100000\n", 64, id="more than there are"),
        pytest.param("max 100000\n", 64, id="no limit"),
        pytest.param("", 64, id="empty"),
    ],
)
def test_a_quota_counts_rounded_up(tmp_path: Path, written: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(written)

    assert cores(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("250000", 3), ("-1", 64)], ids=["limited", "not limited"])
def test_a_quota_of_cgroup_version_1_counts_too(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")

    assert cores(tmp_path) == expected


def test_without_a_cgroup_the_affinity_decides(tmp_path: Path) -> None:
    assert cores(tmp_path) == 64
