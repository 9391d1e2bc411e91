"""Engines with a planted price or fault do what they are planted for, and nothing else."""

from collections.abc import Mapping, Sequence

import numpy as np

from app.engine.load import load_model
from app.types import Ids, Item, Rows
from benchmarks.engines.fixed import MS_PER_TOKEN, FixedRunner, fixed, vector
from benchmarks.engines.leaky import LEAK_BYTES, LeakyRunner
from benchmarks.engines.swapped import EVERY, SwappedRunner
from benchmarks.machine import ROOT

TINY = ROOT / "tests" / "data" / "store" / "tiny-encoder" / "1"


class LengthRunner:
    """Answers each row with its length."""

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        return {"length": np.array([[len(row)] for row in rows], np.float32)}


def rows(*lengths: int) -> list[Ids]:
    return [np.arange(length, dtype=np.int32) for length in lengths]


def test_the_fixed_engine_answers_from_the_tokens_alone() -> None:
    runner = FixedRunner({"a": 4, "b": 2}, overhead_ms=0.0, ms_per_token=0.0)

    together = runner.run(rows(3, 5))

    assert together["a"].shape == (2, 4) and together["b"].shape == (2, 2)
    np.testing.assert_array_equal(together["a"][1], runner.run(rows(5))["a"][0])
    assert not np.array_equal(vector(rows(3)[0], 4), vector(rows(5)[0], 4))


def test_a_model_at_a_set_price_keeps_its_outputs_and_says_its_price() -> None:
    model = load_model(TINY, "cpu", lanes=2)

    changed = fixed(model)

    assert {name: out.shape for name, out in changed.lane.run([model.probe]).items()} == {
        name: out.shape for name, out in model.lane.run([model.probe]).items()
    }
    assert changed.status.cost.ms_per_token == MS_PER_TOKEN
    assert changed.status.key == model.status.key


def test_the_swapping_engine_swaps_one_run_of_several_rows_in_so_many() -> None:
    runner = SwappedRunner(LengthRunner())

    first = [float(runner.run(rows(1, 2))["length"][0, 0]) for _ in range(2 * EVERY)]

    assert first.count(2.0) == 2
    assert runner.run(rows(7))["length"][0, 0] == 7.0


def test_the_leaking_engine_keeps_something_of_every_row() -> None:
    runner = LeakyRunner(LengthRunner())

    runner.run(rows(1, 2, 3))

    assert sum(map(len, runner._kept)) == 3 * LEAK_BYTES
