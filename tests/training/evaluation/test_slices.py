"""Figures by the values of columns: few values as they are, many numbers in ranges, anything else refused."""

from pathlib import Path

import pytest

from training.data.records import Record
from training.data.rows import Row
from training.data.slices import sliced, values_of
from training.data.sources import load_files
from training.errors import DataError
from training.evaluation.slices import by_slice
from training.recipe.data import FileData


def rows_of(*values: str) -> list[Row]:
    return [Row(f"text {number}", f"f:{number}", slices=(value,)) for number, value in enumerate(values)]


def test_values_are_read_as_text() -> None:
    record = Record("f:1", {"lang": " de\n at ", "year": 2024, "paid": True, "team": None, "note": " "})

    assert values_of(record, ["lang", "year", "paid", "team", "note"]) == ("de at", "2024", "True", "none", "none")


def test_many_numbers_become_ranges_of_like_many_rows() -> None:
    found, problems = sliced(rows_of(*map(str, range(100)), "none"), ["age"])

    assert problems == []
    assert [row.slices[0] for row in found[::20]] == ["0 to 25", "0 to 25", "26 to 50", "51 to 75", "76 to 99", "none"]


def test_few_numbers_stay_as_they_are() -> None:
    rows = rows_of("1", "2", "3")

    assert sliced(rows, ["stars"]) == (rows, [])


@pytest.mark.parametrize("extra", ["a", "inf"])
def test_too_many_values_are_refused(extra: str) -> None:
    _, problems = sliced(rows_of(*map(str, range(60)), extra), ["id"])

    assert problems == [
        'data.slices: "id" has 61 different values in test; up to 50 can be told apart, or any number of numbers'
    ]


def test_slices_have_their_rows_and_figures_the_largest_first() -> None:
    rows = rows_of(*["a"] * 2, *["b"] * 40)

    found = by_slice(["lang"], rows, lambda inside_N: {"first": int(inside_N[0])})

    assert found == {
        "lang": [
            {"value": "b", "rows": 40, "is_few": False, "first": 2},
            {"value": "a", "rows": 2, "is_few": True, "first": 0},
        ]
    }


@pytest.fixture
def data(tmp_path: Path) -> FileData:
    for split in ("train", "dev", "test"):
        lines = [f'{{"text": "{split} {n}", "label": "{"ab"[n % 2]}", "lang": "{"xyz"[n % 3]}"}}' for n in range(12)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    names = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "dev", "test")}
    return FileData.model_validate({"source": "files", "slices": ["lang"], **names})


def test_test_rows_alone_have_slices(data: FileData, tmp_path: Path) -> None:
    splits = load_files(data, tmp_path, "classify")

    assert splits.slices == ("lang",)
    assert {row.slices for row in splits.test} == {("x",), ("y",), ("z",)}
    assert {row.slices for row in [*splits.train, *splits.dev]} == {()}


def test_a_row_without_the_column_is_told_by_line(data: FileData, tmp_path: Path) -> None:
    with (tmp_path / "test.jsonl").open("a") as file:
        file.write('\n{"text": "one", "label": "a"}\n{"text": "two", "label": "a", "lang": ["x", "y"]}\n')

    with pytest.raises(DataError) as refusal:
        load_files(data, tmp_path, "classify")

    assert refusal.value.problems == [
        'test.jsonl:13: no key "lang", which data.slices names; its keys: text, label',
        'test.jsonl:14: "lang" is a list; a row is in one slice of a column',
    ]
