"""Published splits can be taken as they are, and train can be kept apart from them; all of it is counted."""

import gzip
import json
from pathlib import Path

import pytest

from training.data.checks import describe
from training.data.findings import Finding
from training.data.rows import Counts, Splits
from training.data.sources import load_files
from training.errors import DataError
from training.recipe.data import Columns, FileData

Rows = list[tuple[str, str]]
TRAIN: Rows = [("one", "a"), (" ONE", "a"), ("two", "b"), ("Three", "a"), ("four", "b"), ("five", "a"), ("Five", "b")]
DEV: Rows = [("three", "a"), ("dev", "b")]
TEST: Rows = [("four", "b"), ("test", "a"), ("test ", "b"), ("TEST", "a")]


def write(folder: Path, name: str, rows: list[dict[str, object]]) -> str:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return f"{name}.jsonl.gz"


def load(folder: Path, train: Rows = TRAIN, dev: Rows = DEV, test: Rows = TEST, **changes: object) -> Splits:
    parts = {"train": train, "dev": dev, "test": test}
    names = {
        name: write(folder, name, [{"text": text, "label": label} for text, label in rows])
        for name, rows in parts.items()
    }
    data = FileData.model_validate({"source": "files", **names, **changes})
    return load_files(data, folder, "classify")


def test_one_text_under_two_labels_is_refused_where_nothing_else_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path)

    assert caught.value.problems == [
        'test.jsonl.gz:3: its label is "b", but test.jsonl.gz:2 has the same text as "a"',
        'train.jsonl.gz:7: its label is "b", but train.jsonl.gz:6 has the same text as "a"',
    ]


def test_published_rows_stay_and_what_is_odd_about_them_is_said(tmp_path: Path) -> None:
    splits = load(tmp_path, as_published=True)

    assert [(row.text, row.label) for row in splits.test] == TEST
    assert [(row.text, row.label) for row in splits.dev] == DEV
    assert [(row.text, row.label) for row in splits.train] == TRAIN
    assert splits.counts == {"train": Counts(7, 7, 0, 0), "dev": Counts(2, 2, 0, 0), "test": Counts(4, 4, 0, 0)}
    assert splits.findings == {
        "duplicate": [
            Finding("test.jsonl.gz:4", "test.jsonl.gz:2"),
            Finding("train.jsonl.gz:2", "train.jsonl.gz:1"),
        ],
        "overlap": [Finding("train.jsonl.gz:4", "dev.jsonl.gz:1"), Finding("train.jsonl.gz:5", "test.jsonl.gz:1")],
        "conflict": [
            Finding("test.jsonl.gz:3", "test.jsonl.gz:2", '"b" against "a"'),
            Finding("train.jsonl.gz:7", "train.jsonl.gz:6", '"b" against "a"'),
        ],
        "several labels": [],
        "apart": [],
    }
    assert describe(splits)[3:6] == [
        "rows with the text of another of their split, kept as published: 2 of 13 – test.jsonl.gz:4 = test.jsonl.gz:2; "
        "train.jsonl.gz:2 = train.jsonl.gz:1",
        "rows with the text of a row of another split, kept as published: 2 of 13 – train.jsonl.gz:4 = dev.jsonl.gz:1; "
        "train.jsonl.gz:5 = test.jsonl.gz:1",
        "rows with the text of another under another label, kept as published: 2 of 13 – "
        'test.jsonl.gz:3 = test.jsonl.gz:2 ("b" against "a"); train.jsonl.gz:7 = train.jsonl.gz:6 ("b" against "a")',
    ]


def test_train_can_be_kept_apart_from_published_splits(tmp_path: Path) -> None:
    splits = load(tmp_path, as_published=True, apart_from=["test"])

    assert [(row.text, row.label) for row in splits.test] == TEST
    assert [row.text for row in splits.train] == ["one", " ONE", "two", "Three", "five", "Five"]
    assert splits.counts["train"] == Counts(7, 6, 0, 0, left_out=1)
    assert str(splits.counts["train"]).endswith("+ 0 deduplicated + 1 left out")
    assert splits.findings["apart"] == [Finding("train.jsonl.gz:5", "test.jsonl.gz:1")]


def test_a_pair_that_shares_one_sentence_with_the_test_leaves_train(tmp_path: Path) -> None:
    """A pair is another pair than one with which it shares a sentence: only `apart_from` sees it."""
    pairs = {
        "train": [("a", "b"), ("c", "T1 "), ("d", "e"), ("t2", "f"), ("g", "v")],
        "dev": [("u", "v")],
        "test": [("t1", "t2")],
    }
    names = {
        name: write(tmp_path, name, [{"one": one, "other": other} for one, other in rows])
        for name, rows in pairs.items()
    }
    raw = {"source": "files", **names, "columns": Columns(text="one", positive="other")}

    together = load_files(FileData.model_validate(raw), tmp_path, "embed")
    apart = load_files(FileData.model_validate({**raw, "apart_from": ["test"]}), tmp_path, "embed")
    all_apart = load_files(FileData.model_validate({**raw, "apart_from": ["dev", "test"]}), tmp_path, "embed")

    assert len(together.train) == 5
    assert [row.text for row in apart.train] == ["a", "d", "g"]
    assert [row.text for row in all_apart.train] == ["a", "d"]
    assert apart.counts["train"] == Counts(5, 3, 0, 0, left_out=2)
    assert apart.findings["apart"] == [
        Finding("train.jsonl.gz:2", "test.jsonl.gz:1"),
        Finding("train.jsonl.gz:4", "test.jsonl.gz:1"),
    ]


def test_what_apart_from_takes_out_of_train_can_leave_a_label_unknown(tmp_path: Path) -> None:
    train: Rows = [("one", "a"), ("four", "b"), ("six", "c")]

    with pytest.raises(DataError) as caught:
        load(tmp_path, train=train, dev=[("dev", "c")], test=[("four", "b")], as_published=True, apart_from=["test"])

    assert caught.value.problems == ['test.jsonl.gz:1: the label "b" does not occur in train']


def test_rows_of_several_labels_are_refused_or_left_out(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, object]]] = {
        "train": [
            {"text": "one", "labels": ["a"]},
            {"text": "two", "labels": ["b"]},
            {"text": "3", "labels": ["a", "b"]},
        ],
        "dev": [{"text": "four", "labels": ["a"]}],
        "test": [{"text": "five", "labels": ["a", "c"]}, {"text": "six", "labels": ["b"]}],
    }
    raw = {
        "source": "files",
        **{name: write(tmp_path, name, part) for name, part in rows.items()},
        "columns": Columns(label="labels"),
    }

    with pytest.raises(DataError) as caught:
        load_files(FileData.model_validate(raw), tmp_path, "classify")
    splits = load_files(FileData.model_validate({**raw, "one_label_only": True}), tmp_path, "classify")

    assert caught.value.problems == [
        f'{place}: "labels" is a list of 2 labels, and a row has one; data.one_label_only = true leaves such rows out'
        for place in ("train.jsonl.gz:3", "test.jsonl.gz:1")
    ]
    assert [(row.text, row.label) for row in splits.train] == [("one", "a"), ("two", "b")]
    assert splits.counts["test"] == Counts(2, 1, 0, 0, left_out=1)
    assert splits.findings["several labels"] == [Finding("train.jsonl.gz:3"), Finding("test.jsonl.gz:1")]
