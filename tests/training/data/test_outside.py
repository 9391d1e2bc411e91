"""Rows of no label are never trained, and none is lost."""

from dataclasses import replace

import pytest

from tests.training.tiny import intent_splits
from training.data.outside import take_out
from training.errors import DataError


def test_rows_of_the_label_stand_apart() -> None:
    splits = intent_splits()

    found = take_out(splits, "switch_off", needed=True)

    assert found.labels == ["switch_on"]
    assert {row.label for rows in (found.train, found.dev, found.test) for row in rows} == {"switch_on"}
    assert len(found.train) + len(found.dev) + len(found.outside["dev"]) == len(splits.train) + len(splits.dev)
    assert len(found.test) + len(found.outside["test"]) == len(splits.test)
    assert {row.label for rows in found.outside.values() for row in rows} == {"switch_off"}


def test_a_label_that_no_row_has_is_refused() -> None:
    with pytest.raises(DataError, match=r"head\.out_of_scope: no row has the label 'oos'"):
        take_out(intent_splits(), "oos", needed=False)


def test_rows_are_needed_where_they_shall_choose_the_score() -> None:
    splits = intent_splits()
    train, dev = ([row for row in rows if row.label == "switch_on"] for rows in (splits.train, splits.dev))
    only_test = replace(splits, train=train, dev=dev)

    assert take_out(only_test, "switch_off", needed=False).outside["dev"] == []
    with pytest.raises(DataError, match="no train or dev row has the label 'switch_off'; name a `score`"):
        take_out(only_test, "switch_off", needed=True)
