"""The score of a pair is a finite number, or the text of one; anything else is named by file and line."""

from pathlib import Path

import pytest

from training.data.rows import Splits
from training.data.sources import load_files
from training.errors import DataError
from training.recipe.data import FileData

HEAD = "text,positive,score\n"


def load(folder: Path, name: str, content: str) -> Splits:
    (folder / "dev.csv").write_text(HEAD + "dev,dev too,1\n")
    (folder / "test.csv").write_text(HEAD + "test,test too,2\n")
    (folder / name).write_text(content)
    raw = {"source": "files", "train": name, "dev": "dev.csv", "test": "test.csv", "columns": {"score": "score"}}
    return load_files(FileData.model_validate(raw), folder, "embed")


def test_numbers_of_jsonl_and_texts_of_csv_are_scores(tmp_path: Path) -> None:
    jsonl = '{"text": "a", "positive": "b", "score": 3}\n{"text": "c", "positive": "d", "score": "4.5"}\n'
    csv = HEAD + "a,b, 3\nc,d,45e-1\n"

    assert [row.score for row in load(tmp_path, "t.jsonl", jsonl).train] == [3.0, 4.5]
    assert [row.score for row in load(tmp_path, "t.csv", csv).train] == [3.0, 4.5]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('"much"', "\"score\" is not a number: 'much'"),
        ('"nan"', '"score" is nan, not a finite number'),
        ("1e999", '"score" is inf, not a finite number'),
        ("1" + "0" * 400, "\"score\" is not a number: '1000000000000000000000000000000000000000'"),
        ("true", '"score" is true or false, not a number'),
        ("null", '"score" is null, not a number'),
        ("[1]", '"score" is a list, not a number'),
        ('" "', '"score" is blank'),
    ],
)
def test_what_is_no_number_is_named(value: str, reason: str, tmp_path: Path) -> None:
    good = '{"text": "a", "positive": "b", "score": 3}\n'

    with pytest.raises(DataError) as caught:
        load(tmp_path, "t.jsonl", good + f'{{"text": "c", "positive": "d", "score": {value}}}\n')

    assert caught.value.problems == [f"t.jsonl:2: {reason}"]


def test_a_pair_under_two_scores_is_a_fault_and_under_one_a_duplicate(tmp_path: Path) -> None:
    assert load(tmp_path, "t.csv", HEAD + "a,b,3\nA, b,3.0\n").counts["train"].deduplicated == 1
    with pytest.raises(DataError) as caught:
        load(tmp_path, "t.csv", HEAD + "a,b,3\nA,b,4\n")

    assert caught.value.problems == ["t.csv:3: its score is 4, but t.csv:2 has the same text as 3"]
