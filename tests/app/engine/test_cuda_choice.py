"""The fastest plan that agrees serves; what fails is left out, and what kills is not tried twice."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from app.bundle.golden import check_golden, load_golden
from app.bundle.open import open_bundle
from app.bundle.packed import read_packed
from app.engine.attempts import Attempts
from app.engine.cuda_buckets import Limits
from app.engine.cuda_choice import Candidate, Choosing, DeviceRunner, NoPlanError
from app.engine.cuda_errors import DeviceLostError
from app.engine.cuda_plans import choose_plan, cuda_candidates, golden_limits, timing_batches
from app.engine.load import golden_rows
from app.engine.packed import PackedRunner
from app.types import Item, Rows
from tests.app.engine.packed_sessions import ReferenceSession
from tests.data.packed import tiny_packed
from tests.e2e.service import TINY_MODELS

BATCHES = {"1 row": [np.ones(3, np.int32)], "2 rows": [np.ones(3, np.int32)] * 2}
FOLDER = TINY_MODELS / "store" / "tiny-encoder" / "1"


class TimedRunner:
    """Takes `ms` a run on a clock of its own making."""

    now_s = 0.0

    def __init__(self, ms: float, *, fault: Exception | None = None) -> None:
        self._ms, self._fault = ms, fault
        self.is_closed = False

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        TimedRunner.now_s += self._ms / 1e3
        if self._fault is not None:
            raise self._fault
        return {"out": np.zeros((len(rows), 1), np.float32)}

    def close(self) -> None:
        self.is_closed = True


def clock() -> float:
    return TimedRunner.now_s


def agrees(runner: DeviceRunner, candidate: Candidate) -> None:
    if candidate.name == "wrong":
        raise ValueError("golden row 3 differs")


def candidate(name: str, runner: TimedRunner) -> Candidate:
    return Candidate(name, "fp16", lambda: runner)


def choosing(path: Path) -> Choosing:
    return Choosing(agrees, BATCHES, Attempts(path / "state" / "attempts.json"), clock)


def test_fastest_that_agrees_serves_and_the_others_are_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runners = {"slow": TimedRunner(5), "fast": TimedRunner(2), "wrong": TimedRunner(1), "middling": TimedRunner(3)}

    with caplog.at_level(logging.WARNING):
        choice = choosing(tmp_path).choose([candidate(name, runner) for name, runner in runners.items()])

    assert choice.candidate.name == "fast"
    assert choice.runner is runners["fast"]
    assert [name for name, runner in runners.items() if not runner.is_closed] == ["fast"]
    assert {name: round(times["1 row"], 3) for name, times in choice.figures.items()} == {
        "slow": 5.0, "fast": 2.0, "middling": 3.0,
    }  # fmt: skip
    assert choice.refused == {"wrong": "golden row 3 differs"}
    assert "plan wrong is left out: golden row 3 differs" in caplog.text


def test_candidate_that_does_not_open_is_left_out(tmp_path: Path) -> None:
    def broken() -> DeviceRunner:
        raise RuntimeError("no such kernel\nand a long story")

    choice = choosing(tmp_path).choose([Candidate("broken", "fp16", broken), candidate("other", TimedRunner(1))])

    assert choice.candidate.name == "other"
    assert choice.refused == {"broken": "no such kernel"}


def test_no_plan_is_an_error_that_names_every_reason(tmp_path: Path) -> None:
    with pytest.raises(NoPlanError, match="golden row 3 differs"):
        choosing(tmp_path).choose([candidate("wrong", TimedRunner(1))])


def test_plan_that_loses_the_device_twice_is_not_tried_by_the_next_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, deadly = TimedRunner(3), TimedRunner(1, fault=RuntimeError("CUDA failure 700: illegal memory access"))
    candidates = [candidate("good", good), candidate("deadly", deadly)]

    for _ in range(2):
        with pytest.raises(DeviceLostError):
            choosing(tmp_path).choose(candidates)
    assert good.is_closed
    with caplog.at_level(logging.WARNING):
        choice = choosing(tmp_path).choose(candidates)

    assert choice.candidate.name == "good"
    assert choice.refused == {"deadly": "engines died of it"}
    assert "plan deadly is not tried again" in caplog.text


def test_a_plan_is_chosen_where_nothing_can_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Models are mounted read-only in docker-compose.yml."""
    (tmp_path / "state").write_text("no folder")

    with caplog.at_level(logging.WARNING):
        choice = choosing(tmp_path).choose([candidate("first", TimedRunner(1)), candidate("second", TimedRunner(2))])

    assert choice.candidate.name == "first"
    assert choice.refused == {}
    assert caplog.text.count("cannot be written") == 1


def test_packed_plans_come_first_and_go_without_graphs_that_killed() -> None:
    manifest = open_bundle(FOLDER).manifest
    packed: bytes = tiny_packed("fp16").SerializeToString()

    with_graphs = [plan.name for plan in cuda_candidates(manifest, b"", packed)]
    without = [plan.name for plan in cuda_candidates(manifest, b"", packed, deadly=["packed-qkv+graphs"])]
    padded = [plan.name for plan in cuda_candidates(manifest, b"", None)]

    assert with_graphs[:3] == ["packed-qkv+graphs", "packed-separate+graphs", "packed-qkv-trt+graphs"]
    assert without[:3] == ["packed-qkv", "packed-separate+graphs", "packed-qkv-trt+graphs"]
    assert padded == with_graphs[3:] == ["padded-fp16", "padded-fp32"]


def test_choice_falls_down_the_ladder_to_what_this_machine_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The CPU has no packed attention; padded batches give the golden outputs, and are timed."""
    bundle = open_bundle(FOLDER)
    model = bundle.manifest.model_file("fp32")
    assert model is not None
    packed: bytes = tiny_packed("fp16").SerializeToString()

    with caplog.at_level(logging.WARNING):
        choice = choose_plan(
            bundle.manifest,
            model=bundle.read(model),
            packed=packed,
            rows=golden_rows(bundle),
            expected=load_golden(bundle).outputs,
            attempts=Attempts(tmp_path / "attempts.json"),
            clock=time.perf_counter,
            device="cpu",
        )

    assert choice.candidate.name in ("padded-fp16", "padded-fp32")
    assert set(choice.figures) == {"padded-fp16", "padded-fp32"}
    assert [name for name in choice.refused if name.startswith("packed")] == list(choice.refused)
    assert all("PackedMultiHeadAttention" in reason for reason in choice.refused.values())
    assert caplog.text.count("is left out") == 3


def test_packed_graph_of_another_model_is_found_out(tmp_path: Path) -> None:
    """Its kernels run, and its numbers are wrong."""
    bundle = open_bundle(FOLDER)
    expected = load_golden(bundle).outputs
    data: bytes = tiny_packed().SerializeToString()
    graph, spec = read_packed(data, "graph")
    limits = Limits(tokens=4096, slots=65536, longest=64, graph_tokens=64)

    def other_model() -> DeviceRunner:
        return PackedRunner(spec, limits, lambda graphs: ReferenceSession(graph, spec), graphs=False)

    def check(runner: DeviceRunner, candidate: Candidate) -> None:
        check_golden(golden_limits(bundle.manifest, "fp16"), expected, runner.run(golden_rows(bundle)))

    with pytest.raises(NoPlanError, match=r"B10-golden.*head embedding: golden row"):
        Choosing(check, BATCHES, Attempts(tmp_path / "attempts.json"), clock).choose(
            [Candidate("packed-qkv", "fp16", other_model)]
        )


def test_timed_batches_are_typical_ones() -> None:
    rows = [np.ones(length, np.int32) for length in (3, 4, 5, 6, 7, 300)]

    batches = timing_batches(rows)

    assert {name: len(batch) for name, batch in batches.items()} == {"1 row": 1, "32 rows": 32, "256 rows": 256}
    assert max(len(row) for batch in batches.values() for row in batch) == 7
