"""What the ledger of a load says."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.ledger import Ledger, Outcome, latency, percentile


def test_a_request_ends_once() -> None:
    ledger = Ledger(2)
    ledger.settle(0, Outcome.RIGHT, 1.0)

    with pytest.raises(AssertionError, match="ends twice"):
        ledger.settle(0, Outcome.RESET, 2.0, "again")


def test_a_saved_ledger_is_the_same(tmp_path: Path) -> None:
    ledger = Ledger(3)
    ledger.due_s[:], ledger.sent_s[:2] = 1.0, [1.5, 2.5]
    ledger.settle(0, Outcome.RIGHT, 3.0)
    ledger.settle(1, Outcome.LOST, 9.0, "no answer")

    ledger.save(tmp_path / "ledger.npz")
    read = Ledger.load(tmp_path / "ledger.npz")

    for name in ("due_s", "sent_s", "done_s", "outcome"):
        np.testing.assert_array_equal(getattr(read, name), getattr(ledger, name))
    assert (read.asked, read.count(Outcome.UNSENT)) == (2, 1)
    assert list(read.seconds(Outcome.LOST)) == [8.0]


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 1001)]

    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 0.999, 1.0)] == [1, 500, 990, 999, 1000]
    assert percentile([7.0], 0.5) == 7
    assert latency([]) is None
