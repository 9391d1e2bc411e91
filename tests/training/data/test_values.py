"""Rows of a number each."""

import json
from pathlib import Path

import pytest

from training.data.checks import describe
from training.data.overview import overview
from training.data.rows import Splits
from training.data.sources import load_files
from training.errors import DataError
from training.recipe.data import Columns, FileData

Rows = list[tuple[str, object]]
TRAIN: Rows = [("one", 1), ("two", 2.5), ("three", -3e2)]


def load(folder: Path, train: Rows = TRAIN) -> Splits:
    others: dict[str, Rows] = {"dev": [("dev one", 1)], "test": [("test one", 0)]}
    for name, rows in ({"train": train} | others).items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": t, "value": v}) + "\n" for t, v in rows))
    data = FileData(source="files", train="train.jsonl", dev="dev.jsonl", test="test.jsonl")
    return load_files(data, folder, "regression")


def problems_of(folder: Path, train: Rows) -> list[str]:
    with pytest.raises(DataError) as caught:
        load(folder, train)
    return caught.value.problems


def test_numbers_are_values(tmp_path: Path) -> None:
    splits = load(tmp_path)

    assert [row.value for row in splits.train] == [1.0, 2.5, -300.0]
    assert splits.labels == []
    assert "values in train: from -300 to 2.5, half of them up to 1" in describe(splits)
    assert overview(splits).balance == {}


def test_numbers_of_csv_are_read_from_their_texts(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "train.csv").write_text("text,score\none, 4.5\ntwo,-1e-1\nthree,.5\n")
    columns = Columns(value="score")
    for name in ("dev", "test"):
        (tmp_path / f"{name}.csv").write_text(f"text,score\n{name},3.\n")
    data = FileData(source="files", train="train.csv", dev="dev.csv", test="test.csv", columns=columns)

    assert [row.value for row in load_files(data, tmp_path, "regression").train] == [4.5, -0.1, 0.5]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("many", "is not a number: 'many'"),
        ("1_000", "is not a number: '1_000'"),
        ("nan", "is nan, not a finite number"),
        ("", "is empty"),
        (True, "is true or false, not a number"),
        (None, "is null, not a number"),
        ([1], "is a list, not a number"),
        (1e31, "is 1e+31; numbers go up to 1e+30"),
        ("1e999", "is inf, not a finite number"),
    ],
    ids=["word", "underscore", "nan", "empty", "bool", "null", "list", "too large", "infinite"],
)
def test_what_is_no_number_is_named(value: object, reason: str, tmp_path: Path) -> None:
    assert problems_of(tmp_path, [*TRAIN, ("four", value)]) == [f'train.jsonl:4: "value" {reason}']


def test_one_text_with_two_values_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path, [*TRAIN, ("One", 1.0), ("Two", 2)]) == [
        "train.jsonl:5: its value is 2, but train.jsonl:2 has the same text as 2.5"
    ]


def test_values_that_are_all_the_same_teach_nothing(tmp_path: Path) -> None:
    assert problems_of(tmp_path, [("one", 3), ("two", 3.0)]) == [
        "train: every row has the value 3; there is nothing to learn"
    ]
