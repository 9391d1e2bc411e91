"""The simulated closed loop."""

import pytest

from app.types import Cost
from benchmarks.schedule import Rule, ceiling, simulate

COST = Cost(overhead_ms=2.0, ms_per_token=0.1, lanes=2)
MIXED = [5, 100, 7, 90, 6, 110, 8, 95] * 50


def test_one_caller_pays_each_run_alone() -> None:
    result = simulate([10, 20, 30], 1, COST, Rule("like lengths", 256))

    assert (result.rows_mean, result.waste) == (1.0, 0.0)
    assert result.p99_ms == 2.0 + 30 * 0.1


def test_the_ceiling_takes_the_best_batch_on_every_lane() -> None:
    lengths = [10] * 64

    assert ceiling(lengths, COST) == pytest.approx(1000 * 64 * 2 / (2 * (2.0 + 32 * 10 * 0.1)))


def test_no_rule_passes_the_ceiling_and_like_lengths_come_nearer() -> None:
    first_come = simulate(MIXED, 32, COST, Rule("first come", 512))
    like_lengths = simulate(MIXED, 32, COST, Rule("like lengths", 512, join_tokens=5.0))

    assert first_come.share < like_lengths.share <= 1.0
    assert like_lengths.waste < 0.1 < first_come.waste


def test_batches_stay_within_the_budget() -> None:
    result = simulate([10] * 400, 64, COST, Rule("first come", 80))

    assert result.rows_mean == pytest.approx(8.0, rel=0.05)
