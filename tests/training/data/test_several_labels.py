"""Rows of any number of labels: read from lists and from texts with a separator, and compared as sets."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data.checks import describe
from training.data.overview import overview
from training.data.rows import Counts, Splits
from training.data.sources import load_files
from training.errors import DataError
from training.recipe.data import FileData

Rows = list[tuple[str, object]]
TRAIN: Rows = [("one", ["b", "a"]), ("two", []), ("three", ["c"]), ("four", [" a "])]
DEV: Rows = [("dev one", ["a"]), ("dev two", [])]
TEST: Rows = [("test one", ["c", "b"]), ("test two", ["a"])]


def load(folder: Path, train: Rows = TRAIN, dev: Rows = DEV, test: Rows = TEST, **changes: object) -> Splits:
    names = {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"}
    for name, rows in (("train", train), ("dev", dev), ("test", test)):
        lines = [json.dumps({"text": text, "label": labels}) for text, labels in rows]
        (folder / names[name]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_files(FileData.model_validate({"source": "files", **names, **changes}), folder, "multi_label")


def problems_of(folder: Path, **splits: Rows) -> list[str]:
    with pytest.raises(DataError) as caught:
        load(folder, **splits)
    return caught.value.problems


def test_a_list_holds_any_number_of_labels(tmp_path: Path) -> None:
    splits = load(tmp_path)

    assert [row.labels for row in splits.train] == [("a", "b"), (), ("c",), ("a",)]
    assert all(row.label is None for row in splits.train)
    assert splits.labels == ["a", "b", "c"]


def test_lists_of_parquet_are_read_alike(tmp_path: Path) -> None:
    load(tmp_path)
    columns = {"text": [text for text, _labels in TRAIN], "label": [labels for _text, labels in TRAIN]}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")

    data = FileData(source="files", train="train.parquet", dev="dev.jsonl", test="test.jsonl")

    assert [row.labels for row in load_files(data, tmp_path, "multi_label").train] == [("a", "b"), (), ("c",), ("a",)]


def test_a_text_is_parted_by_the_separator(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "train.csv").write_text("text,label\none,b| a\ntwo,\nthree,c\n")
    data = FileData(source="files", train="train.csv", dev="dev.jsonl", test="test.jsonl", label_separator="|")

    assert [row.labels for row in load_files(data, tmp_path, "multi_label").train] == [("a", "b"), (), ("c",)]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("a", '"label" is a text, not a list of labels; data.label_separator parts a text'),
        (None, '"label" is null, not a list of labels'),
        (["a", 3], '"label" is a number (3), not a text'),
        (["a", " "], '"label" is blank'),
        (["a", "b", " a"], '"label" has the label "a" twice'),
        ([["a"]], '"label" is a list, not a text'),
    ],
    ids=["text", "null", "number", "blank", "twice", "list in a list"],
)
def test_what_is_no_list_of_labels_is_named(labels: object, reason: str, tmp_path: Path) -> None:
    assert problems_of(tmp_path, train=[*TRAIN, ("five", labels)]) == [f"train.jsonl:5: {reason}"]


def test_an_empty_part_of_a_text_is_named(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "train.csv").write_text("text,label\none,b||a\n")
    data = FileData(source="files", train="train.csv", dev="dev.jsonl", test="test.jsonl", label_separator="|")

    with pytest.raises(DataError) as caught:
        load_files(data, tmp_path, "multi_label")

    assert caught.value.problems == ['train.csv:2: "label" is empty']


def test_the_same_labels_in_another_order_are_no_conflict(tmp_path: Path) -> None:
    again = [*TRAIN, ("ONE", ["a", "b"])]

    assert load(tmp_path, train=again).counts["train"] == Counts(5, 4, 0, 1)
    assert problems_of(tmp_path, train=[*TRAIN, ("one", ["a"]), ("two", ["a"])]) == [
        'train.jsonl:5: its label is "a", but train.jsonl:1 has the same text as "a", "b"',
        'train.jsonl:6: its label is "a", but train.jsonl:2 has the same text as none',
    ]


def test_a_label_that_train_has_not_is_named(tmp_path: Path) -> None:
    assert problems_of(tmp_path, test=[*TEST, ("test three", ["a", "d"])]) == [
        'test.jsonl:3: the label "d" does not occur in train'
    ]


def test_a_split_without_any_label_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path, dev=[("dev one", []), ("dev two", [])]) == ["dev: no row has a label"]


def test_labels_are_counted_wherever_they_stand(tmp_path: Path) -> None:
    splits = load(tmp_path)

    assert "3 labels in train; fewest rows: b 1, c 1, a 2" in describe(splits)
    assert overview(splits).balance["a"] == {"train": 2, "dev": 1, "test": 1}


def test_a_label_whose_rows_would_all_be_split_off_stays_in_train(tmp_path: Path) -> None:
    rows = [{"text": f"row {number}", "label": [f"own {number}", "all"]} for number in range(300)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    many = [{"text": f"more {number}", "label": ["all"] if number % 2 else []} for number in range(300)]
    with (tmp_path / "train.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in many)

    splits = load_files(FileData(source="files", train="train.jsonl"), tmp_path, "multi_label")

    assert splits.dev
    assert all(set(row.all_labels) <= {"all"} for row in [*splits.dev, *splits.test])
    assert len(splits.labels) == 301
