import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.bundle.errors import BundleError
from app.bundle.manifest import Precision
from app.engine import machine
from app.engine.agree import Exam
from app.engine.cpu_choice import Choosing
from app.engine.keep import Keeper
from app.engine.load import LoadedModel, keep_cost, load_model
from app.types import Cost, ModelKey, PlanFigures, PlanStatus, Runner
from tests.contract.bundles import ENCODER, STORE, copy_of, edit_manifest

FOLDER = STORE / ENCODER / "1"
KEY = ModelKey("tiny-encoder", 1)
ABOUT = {"cpu": "a", "openvino": "1"}
COST = Cost(2.0, 0.1, 2, 1e-4, 8)
PLAN = PlanStatus("openvino-bf16", "fast", [PlanFigures("openvino-bf16", "serves", 10.0, {"1x16": 3.0})])


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path, KEY, ABOUT)


def start(keep_in: Path, folder: Path = FOLDER) -> LoadedModel:
    return load_model(folder, "cpu", lanes=1, keep_in=keep_in)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_is_kept_is_read_again(keeper: Keeper) -> None:
    keeper.write(PLAN, is_wide=True, cost=COST)

    kept = keeper.read()

    assert kept is not None
    assert (kept.plan, kept.is_wide, kept.measured, kept.cost) == (PLAN, True, COST, COST)


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / f"{KEY}.json" / "in the way").mkdir(parents=True)

    keeper.write(PLAN, is_wide=False, cost=COST)

    assert [file.name for file in tmp_path.iterdir()] == [f"{KEY}.json"]


def test_a_refined_price_is_kept_beside_the_choice(keeper: Keeper) -> None:
    keeper.write(PLAN, is_wide=False, cost=COST)

    keeper.write_cost(replace(COST, overhead_ms=3.0, ms_per_token=0.15, ms_per_pair=1.5e-4))

    kept = keeper.read()
    assert kept is not None
    assert (kept.plan, kept.measured) == (PLAN, COST)
    assert kept.cost.overhead_ms == pytest.approx(3.0)
    assert kept.cost.ms_per_token == pytest.approx(0.15)
    assert kept.cost.ms_per_pair == pytest.approx(1.5e-4)


def test_prices_do_not_run_away_from_start_to_start(keeper: Keeper) -> None:
    keeper.write(PLAN, is_wide=False, cost=COST)

    for _ in range(5):
        kept = keeper.read()
        assert kept is not None
        keeper.write_cost(replace(kept.cost, ms_per_token=kept.cost.ms_per_token * 3))

    last = keeper.read()
    assert last is not None
    assert last.cost.ms_per_token == pytest.approx(0.4)


def test_a_price_without_a_choice_is_not_kept(keeper: Keeper, tmp_path: Path) -> None:
    keeper.write_cost(COST)

    assert list(tmp_path.iterdir()) == []


Change = Callable[[dict[str, Any]], object]
FOREIGN: dict[str, tuple[Change, str]] = {
    "another machine": (lambda kept: kept["about"].update(cpu="b"), "another cpu"),
    "more libraries": (lambda kept: kept["about"].update(cuda="1"), "another cuda"),
    "another format": (lambda kept: kept.update(format=99), "another format"),
    "an unknown field": (lambda kept: kept.update(extra=1), "extra"),
    "no price": (lambda kept: kept["cost"].update(ms_per_token=0.0), "no prices"),
    "a negative price": (lambda kept: kept["measured"].update(overhead_ms=-1.0), "no prices"),
    "no plan": (lambda kept: kept.pop("plan"), "plan"),
    "a price that is text": (lambda kept: kept["cost"].update(lanes="two"), "lanes"),
}


@pytest.mark.parametrize(("change", "said"), FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_file_counts_as_none_and_is_told(
    change: Change, said: str, keeper: Keeper, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper.write(PLAN, is_wide=False, cost=COST)
    path = only_file(tmp_path)
    kept = json.loads(path.read_text())
    change(kept)
    path.write_text(json.dumps(kept))

    with caplog.at_level(logging.INFO):
        assert keeper.read() is None

    assert said in caplog.text
    assert "measured anew" in caplog.text


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 1}', b"NaN"])
def test_a_broken_file_counts_as_none(data: bytes, keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / f"{KEY}.json").write_bytes(data)

    assert keeper.read() is None


def test_a_folder_that_cannot_be_written_is_a_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")

    model = start(tmp_path / "cache" / "plans")

    assert "cannot be kept" in caplog.text
    assert model.lane.run([model.probe])


def test_a_restart_takes_the_choice_and_times_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start(tmp_path)
    monkeypatch.setattr(Choosing, "choose", None)  # whoever calls it now fails

    second = start(tmp_path)

    assert second.status == first.status


def test_a_restart_takes_the_refined_price(tmp_path: Path) -> None:
    first = start(tmp_path)
    wanted = replace(first.status.cost, overhead_ms=first.status.cost.overhead_ms * 1.5)

    keep_cost(first, wanted)

    assert start(tmp_path).status.cost.overhead_ms == pytest.approx(wanted.overhead_ms)


def test_a_kept_plan_that_disagrees_now_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The libraries and the bundle are the same, and yet the answers are not: memory, microcode, a patched library."""
    first = start(tmp_path)
    path = only_file(tmp_path)
    assert first.status.plan is not None
    other = "openvino-bf16" if first.status.plan.name == "onnxruntime-fp32" else "onnxruntime-fp32"
    path.write_text(path.read_text().replace(f'"name": "{first.status.plan.name}"', f'"name": "{other}"'))
    real = Exam.check
    refused: list[str] = []

    def disagree_once(self: Exam, runner: Runner, precision: Precision, path: str) -> None:
        if not refused:
            refused.append(path)
            raise BundleError("B10-golden", "planted")
        real(self, runner, precision, path)

    monkeypatch.setattr(Exam, "check", disagree_once)

    second = start(tmp_path)

    assert "which is refused now ([B10-golden] planted); measured anew" in caplog.text
    assert second.status.plan is not None
    assert second.status.plan.figures[0].name == "onnxruntime-fp32"


def test_another_bundle_of_the_same_name_is_measured_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    start(tmp_path / "kept")
    folder = copy_of(ENCODER, tmp_path)
    edit_manifest(folder, lambda manifest: manifest.update(created="2026-02-03T04:05:06Z"))

    with caplog.at_level(logging.INFO):
        start(tmp_path / "kept", folder)

    assert "measured with another bundle" in caplog.text


def test_a_machine_is_known_by_its_cpu_and_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast One\nflags\t\t: fpu avx2 amx_bf16\n\nprocessor\t: 1\n")
    monkeypatch.setattr(machine, "CPU_INFO", info)

    assert machine.cpu_flags() == {"fpu", "avx2", "amx_bf16"}
    assert machine.cpu_name() == "Fast One (amx_bf16 avx2)"


def test_a_machine_without_a_linux_kernel_has_no_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "nothing")

    assert machine.cpu_flags() == frozenset()
    assert machine.fingerprint("cpu", lanes=2)["lanes"] == "2"
