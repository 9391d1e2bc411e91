"""Few shots are drawn by the seed and the texts alone, and all others are counted."""

import random
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.training.data.test_splits import many, row, write
from training.data.draw import draw
from training.data.rows import Counts, Row
from training.data.sources import load_files
from training.recipe.data import FileData

ROWS = [Row(f"text number {number}", f"train:{number}", label="ab"[number % 2]) for number in range(40)]


def test_so_many_of_each_label_are_drawn_in_their_order() -> None:
    drawn = draw(ROWS, 3, seed=7)

    assert Counter(row.label for row in drawn) == {"a": 3, "b": 3}
    assert drawn == [row for row in ROWS if row in drawn]


def test_the_draw_is_a_function_of_seed_and_texts() -> None:
    """The same on every machine (the texts are written here), for any order of the rows; another for another seed."""
    shuffled = random.Random(3).sample(ROWS, len(ROWS))

    drawn = {row.text for row in draw(ROWS, 2, seed=7)}

    assert drawn == {"text number 1", "text number 24", "text number 30", "text number 31"}
    assert {row.text for row in draw(shuffled, 2, seed=7)} == drawn
    assert {row.text for row in draw(ROWS, 2, seed=8)} != drawn
    assert drawn < {row.text for row in draw(ROWS, 5, seed=7)}


def test_a_label_of_fewer_rows_keeps_them_all() -> None:
    rows = [*ROWS, Row("alone", "train:40", label="c")]

    assert Counter(row.label for row in draw(rows, 3, seed=7)) == {"a": 3, "b": 3, "c": 1}


def test_rows_beyond_the_draw_are_counted_and_dev_can_be_left_out(tmp_path: Path) -> None:
    data = write(tmp_path, train=[*many(40), row("text number 1", "b")], test=many(10, start=100))
    data = FileData.model_validate({**data.model_dump(), "dev_share": 0.0, "per_label": 4})

    splits = load_files(data, tmp_path, "classify")

    assert splits.counts == {
        "train": Counts(41, 8, 0, 1, 32),
        "dev": Counts(0, 0, 0, 0),
        "test": Counts(10, 10, 0, 0),
    }
    assert splits.dev == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"draw_seed": 8}, "`draw_seed` says which rows `per_label` draws, which is not there; leave it out"),
        ({"dev": "d.csv", "dev_share": 0.0}, "`dev` and `dev_share = 0` disagree: is there a dev split or not?"),
    ],
)
def test_keys_of_a_draw_that_do_nothing_are_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FileData.model_validate({"source": "files", "train": "t.csv", **keys})
