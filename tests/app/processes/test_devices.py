from pathlib import Path

import pytest

from app.processes.devices import VISIBLE, engine_environments
from app.settings import Settings


@pytest.fixture
def two_gpus(tmp_path: Path) -> Path:
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (folder / name).touch()
    return folder


def shown(settings: Settings, environ: dict[str, str], devices: Path) -> list[str | None]:
    return [engine.get(VISIBLE) for engine in engine_environments(settings, environ, devices)]


def test_each_gpu_has_an_engine_that_sees_it_alone(two_gpus: Path) -> None:
    assert shown(Settings(), {"A": "b"}, two_gpus) == ["0", "1"]
    assert all(engine["A"] == "b" for engine in engine_environments(Settings(), {"A": "b"}, two_gpus))


def test_only_the_gpus_that_the_service_may_use_count(two_gpus: Path) -> None:
    assert shown(Settings(), {VISIBLE: "1"}, two_gpus) == ["1"]
    assert shown(Settings(), {VISIBLE: "GPU-7a,GPU-9c"}, two_gpus) == ["GPU-7a", "GPU-9c"]


def test_without_gpus_there_is_one_engine_or_as_many_as_are_set(tmp_path: Path, two_gpus: Path) -> None:
    assert shown(Settings(), {}, tmp_path) == [None]
    assert shown(Settings(engines=3), {}, tmp_path) == [None] * 3
    assert shown(Settings(device="cpu"), {}, two_gpus) == [None]
    assert shown(Settings(), {VISIBLE: ""}, two_gpus) == [""]
