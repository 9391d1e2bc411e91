"""A thousand rows are made, checked in every form, and what was planted is found."""

import pytest

from benchmarks.data import LABELS, WRITERS, make, measure
from benchmarks.report.other import data

pytestmark = pytest.mark.slow


def test_every_form_is_checked_and_the_planted_rows_are_found() -> None:
    said: list[str] = []

    result = measure(3000, ["data", "--rows", "3000"], said.append)

    assert [one.form for one in result.forms] == list(WRITERS)
    assert (result.rows, result.labels) == (3000, LABELS)
    assert (result.duplicates, result.overlaps) == (30, 15)
    assert result.near.planted == 3
    assert result.near.found >= 3
    assert len(said) == 5
    assert "3,000 rows in at most" in data(result, "data")


def test_rows_are_the_same_for_the_same_number() -> None:
    assert make(2000) == make(2000)
