"""Rows of numbers in files: what is read, what is refused and where, what counts as the same row."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data.sources import load_digits, load_files
from training.data.splits import share
from training.errors import DataError
from training.recipe.data import Columns, DigitsData, FileData
from training.validate import validate_file

COLUMNS = Columns(vector="v", label="y")
GOOD = '{"v": [1, 2.5], "y": "a"}\n{"v": [3, -4], "y": "b"}\n'
HELD_OUT = (
    '{"v": [10, 2.5], "y": "a"}\n{"v": [30, -4], "y": "b"}\n',
    '{"v": [11, 2], "y": "a"}\n{"v": [31, -4], "y": "b"}\n',
)


def files(folder: Path, name: str, train: str | None) -> FileData:
    """`train` in a file, beside dev and test that are good."""
    for split, text in zip(("dev", "test"), HELD_OUT, strict=True):
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    if train is not None:
        (folder / name).write_text(train, encoding="utf-8")
    return FileData(source="files", train=name, dev="dev.jsonl", test="test.jsonl", columns=COLUMNS)


FAULTS = {
    "a text": (
        '{"v": "two", "y": "a"}',
        '"v" is a text that is not the JSON of a list of numbers: Expecting value: line 1 column 1 (char 0)',
    ),
    "no list": ('{"v": 3, "y": "a"}', '"v" is not a list of numbers, or of lists of numbers'),
    "null": ('{"v": null, "y": "a"}', '"v" is not a list of numbers, or of lists of numbers'),
    "no key": ('{"w": [1, 2], "y": "a"}', 'no key "v"; its keys: w, y'),
    "empty": ('{"v": [], "y": "a"}', '"v" is empty; a row has at least one number'),
    "null among numbers": ('{"v": [1, null], "y": "a"}', '"v" has at [1] what is not a number'),
    "a number as text": ('{"v": [1, "2"], "y": "a"}', '"v" has at [1] what is not a number'),
    "too large": ('{"v": [1, 1e39], "y": "a"}', '"v" has at [1] what is not finite, or too large for float32'),
    "NaN": ('{"v": [1, NaN], "y": "a"}', "is not JSON: NaN is not a JSON value"),
    "Infinity": ('{"v": [1, -Infinity], "y": "a"}', "is not JSON: -Infinity is not a JSON value"),
    "ragged": (
        '{"v": [[1, 2], [1]], "y": "a"}',
        '"v" is ragged: the vector at [1] has 1 values, the first has 2 values',
    ),
    "another width": (
        '{"v": [1, 2, 3], "y": "a"}',
        "is a vector of 3 numbers, but t.jsonl:1 is a vector of 2 numbers",
    ),
    "a sequence among single vectors": (
        '{"v": [[1, 2]], "y": "a"}',
        "is a sequence of vectors of 2 numbers, but t.jsonl:1 is a vector of 2 numbers",
    ),
    "the same numbers under another label": (
        '{"v": [1.0, 2.5], "y": "b"}',
        'its label is "b", but t.jsonl:1 has the same vector as "a"',
    ),
    "a label that is none": ('{"v": [1, 2], "y": 3}', '"y" is a number (3), not a text'),
}  # fmt: skip


@pytest.mark.parametrize(("line", "problem"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_named_by_file_and_line(line: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_files(files(tmp_path, "t.jsonl", GOOD + line + "\n"), tmp_path, "classify")

    assert caught.value.problems == [f"t.jsonl:3: {problem}"]


def test_another_width_in_a_later_split_is_found(tmp_path: Path) -> None:
    data = files(tmp_path, "t.jsonl", GOOD)
    (tmp_path / "test.jsonl").write_text(HELD_OUT[1] + '{"v": [1], "y": "a"}\n', encoding="utf-8")

    with pytest.raises(DataError) as caught:
        load_files(data, tmp_path, "classify")

    assert caught.value.problems == ["test.jsonl:3: is a vector of 1 numbers, but t.jsonl:1 is a vector of 2 numbers"]
    assert "test: 3 rows in = 2 used + 1 rejected" in str(caught.value)


CSV = 'v,y\n"[1, 2.5]",a\n"[3, -4]",b\n'


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_the_same_rows_come_from_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    data = files(tmp_path, f"t.{kind}", {"jsonl": GOOD, "csv": CSV, "parquet": None}[kind])
    if kind == "parquet":
        pq.write_table(pa.table({"v": [[1.0, 2.5], [3.0, -4.0]], "y": ["a", "b"]}), tmp_path / "t.parquet")

    rows = load_files(data, tmp_path, "classify").train

    vectors = [row.vector for row in rows if row.vector is not None]
    assert [vector.tolist() for vector in vectors] == [[1.0, 2.5], [3.0, -4.0]]
    assert {vector.dtype for vector in vectors} == {np.dtype(np.float32)}
    assert [row.label for row in rows] == ["a", "b"]
    assert {row.text for row in rows} == {""}


def test_a_csv_of_plain_columns_says_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_files(files(tmp_path, "t.csv", "v,y\n1 2.5,a\n"), tmp_path, "classify")

    (first, *_) = caught.value.problems
    assert first.startswith('t.csv:2: "v" is a text that is not the JSON of a list of numbers: ')


def test_equal_numbers_are_one_row_and_never_in_two_splits(tmp_path: Path) -> None:
    data = files(tmp_path, "t.jsonl", GOOD + '{"v": [3.0, -4.0], "y": "b"}\n{"v": [31, -4], "y": "b"}\n')

    splits = load_files(data, tmp_path, "classify")

    assert len(splits.train) == 2
    assert [(one.where, one.other) for one in splits.findings["duplicate"]] == [("t.jsonl:3", "t.jsonl:2")]
    assert [(one.where, one.other) for one in splits.findings["overlap"]] == [("t.jsonl:4", "test.jsonl:2")]


def test_sequences_of_other_lengths_are_other_rows(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "dev", "test")):
        lines = [{"v": [[number, 2]] * length, "y": "ab"[length % 2]} for length in (1, 2, 3)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    data = FileData(source="files", train="train.jsonl", dev="dev.jsonl", test="test.jsonl", columns=COLUMNS)

    splits = load_files(data, tmp_path, "classify")

    assert [row.vector.shape for row in splits.train if row.vector is not None] == [(1, 2), (2, 2), (3, 2)]


def test_a_row_keeps_its_split_when_others_come(tmp_path: Path) -> None:
    data = DigitsData(source="digits")
    splits = load_digits(data)
    some = [row for part in (splits.train, splits.dev, splits.test) for row in part if row.where.endswith("7")]

    parts = share(some, {"dev": data.dev_share, "test": data.test_share})

    kept = {row.where for row in splits.test}
    assert {row.where for row in parts["test"]} == {row.where for row in some if row.where in kept}


def test_the_digits_are_those_of_scikit_learn() -> None:
    single, rows = (load_digits(DigitsData(source="digits", rows=form)) for form in ("vectors", "sequences"))

    for splits, shape in ((single, (64,)), (rows, (8, 8))):
        every = [*splits.train, *splits.dev, *splits.test]
        assert {row.vector.shape for row in every if row.vector is not None} == {shape}
        assert (len(every), splits.labels) == (1797, [str(digit) for digit in range(10)])
        assert splits.counts["test"].used == 359
    assert [row.where for row in single.test] == [row.where for row in rows.test]
    assert single.digests == rows.digests


def test_a_file_of_numbers_is_validated(tmp_path: Path) -> None:
    lines = [json.dumps({"v": [[number, 1.0]] * (1 + number % 4), "y": "ab"[number % 2]}) for number in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    found = validate_file(
        tmp_path / "rows.jsonl", task="classify", columns={"vector": "v", "label": "y"}, report=tmp_path / "report"
    )

    assert any(line.startswith("vectors of a row of train: half have up to") for line in found)
    assert "rows by vectors" in (tmp_path / "report" / "data.md").read_text(encoding="utf-8").lower()
