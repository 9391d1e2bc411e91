"""Good files give the same rows whatever their form."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data.files import read
from training.data.sources import load_files
from training.recipe.data import Columns, FileData

WANTED = ["text", "label"]
ROWS = [
    ("plain", "a"),
    ('a "quoted" word, and a comma', "b"),
    ("two\nlines", "a"),
    ("line\u2028separator and next\u0085line", "b"),
    ("héllo 你好 🎉", "a"),
    ("  blanks kept ", "b"),
]


def csv_of(delimiter: str, end: str = "\n") -> bytes:
    def cell(value: str) -> str:
        return '"' + value.replace('"', '""') + '"'

    rows = [("text", "label"), *ROWS]
    return "".join(f"{cell(text)}{delimiter}{cell(label)}{end}" for text, label in rows).encode()


def jsonl() -> bytes:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS).encode()


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"label": [label for _, label in ROWS], "text": [text for text, _ in ROWS]}), sink)
    return bytes(sink.getvalue())


FORMS: dict[str, Callable[[], bytes]] = {
    "t.csv": lambda: csv_of(","),
    "t.tsv": lambda: csv_of("\t"),
    "t.jsonl": jsonl,
    "t.parquet": parquet,
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(FORMS[name]()) if packed else FORMS[name]())

    records = list(read(path, WANTED))

    assert [(record.values["text"], record.values["label"]) for record in records] == ROWS
    assert not any(record.problem for record in records)


@pytest.mark.parametrize("content", [csv_of(","), csv_of(",").rstrip(b"\n")], ids=["line break", "no line break"])
def test_last_line_may_lack_its_line_break(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)

    assert len(list(read(tmp_path / "t.csv", WANTED))) == len(ROWS)


@pytest.mark.parametrize("content", [csv_of(",", "\r\n"), jsonl().replace(b"\n", b"\r\n")], ids=["csv", "jsonl"])
def test_byte_order_mark_and_crlf_are_tolerated(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ("t.csv" if content.startswith(b'"text"') else "t.jsonl")
    path.write_bytes(b"\xef\xbb\xbf" + content)

    records = list(read(path, WANTED))

    assert [record.values["label"] for record in records] == [label for _, label in ROWS]


def test_rows_are_named_by_the_line_they_start_on(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(csv_of(","))

    places = [record.where for record in read(tmp_path / "t.csv", WANTED)]

    assert places == ["t.csv:2", "t.csv:3", "t.csv:4", "t.csv:6", "t.csv:7", "t.csv:8"]


def test_other_column_names_come_from_the_recipe(tmp_path: Path) -> None:
    lines = [f"id{number},utterance {number},{'ab'[number % 2]}" for number in range(60)]
    (tmp_path / "t.csv").write_text("id,utterance,intent\n" + "\n".join(lines) + "\n", encoding="utf-8")
    data = FileData(source="files", train="t.csv", columns=Columns(text="utterance", label="intent"))

    splits = load_files(data, tmp_path, "classify")

    assert splits.labels == ["a", "b"]
    assert {row.text for row in [*splits.train, *splits.dev, *splits.test]} == {f"utterance {n}" for n in range(60)}


def test_blanks_around_a_label_are_dropped(tmp_path: Path) -> None:
    rows = "".join(f"row {number},{' a' if number % 2 else 'b '}\n" for number in range(60))
    (tmp_path / "t.csv").write_text("text,label\n" + rows, encoding="utf-8")

    splits = load_files(FileData(source="files", train="t.csv"), tmp_path, "classify")

    assert splits.labels == ["a", "b"]


def test_triplets_are_read_for_embedding(tmp_path: Path) -> None:
    rows = [{"text": f"q{n}", "positive": f"p{n}", "negative": f"n{n}"} for n in range(60)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = FileData(source="files", train="t.jsonl", columns=Columns(negative="negative"))

    splits = load_files(data, tmp_path, "embed")

    assert splits.labels == []
    assert all((row.positive, row.negative) == (f"p{row.text[1:]}", f"n{row.text[1:]}") for row in splits.train)
