"""Every kind of bad file is reported as `file:line: reason`, and nothing else is."""

import gzip
import hashlib
import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data.sources import load_files
from training.errors import DataError
from training.recipe.data import Columns, FileData

GOOD_DEV = b'{"text": "dev one", "label": "a"}\n{"text": "dev two", "label": "b"}\n'
GOOD_TEST = b'{"text": "test one", "label": "a"}\n{"text": "test two", "label": "b"}\n'
CSV = b"text,label\none,a\ntwo,b\n"
JSONL = b'{"text": "one", "label": "a"}\n{"text": "two", "label": "b"}\n'
CUT = "; the file ends without a line break here: is it cut?"


def problems_of(folder: Path, name: str, content: bytes) -> list[str]:
    """What is said about a train file, its dev and test files being good."""
    (folder / "dev.jsonl").write_bytes(GOOD_DEV)
    (folder / "test.jsonl").write_bytes(GOOD_TEST)
    (folder / name).write_bytes(content)
    data = FileData(source="files", train=name, dev="dev.jsonl", test="test.jsonl")
    with pytest.raises(DataError) as caught:
        load_files(data, folder, "classify")
    return caught.value.problems


CSV_FAULTS = {
    "not UTF-8": (CSV + b"caf\xe9,a\n", ["t.csv:4: is not UTF-8: byte 0xe9 at byte 4 of the line"]),
    "not UTF-8 in a later line of a quoted text": (
        CSV + b'"good\ncaf\xe9",a\nthree,a\n',
        ["t.csv:5: is not UTF-8: byte 0xe9 at byte 4 of the line"],
    ),
    "UTF-16": (CSV.decode().encode("utf-16"), ["t.csv: is UTF-16; save it as UTF-8"]),
    "NUL": (CSV + b"th\0ree,a\n", ["t.csv:4: has a NUL character at byte 3 of the line"]),
    "empty text": (CSV + b",a\n", ['t.csv:4: "text" is empty']),
    "blank text": (CSV + " \t\u3000,a\n".encode(), ['t.csv:4: "text" is blank']),
    "blank label": (CSV + b"three, \n", ['t.csv:4: "label" is blank']),
    "missing column in a row": (CSV + b"three\nfour,a\n", ["t.csv:4: has 1 column, the header has 2"]),
    "extra column in a row": (
        CSV + b"three, or more,a\n",
        ["t.csv:4: has 3 columns, the header has 2; quote a text that holds the delimiter"],
    ),
    "row after a text of three lines": (
        CSV + b'"a text\nof three\nlines",a\n,b\n',
        ['t.csv:7: "text" is empty'],
    ),
    "row after a blank line and CRLF": (b"text,label\r\none,a\r\n\r\ntwo,b\r\n,b\r\n", ['t.csv:5: "text" is empty']),
    "row after U+2028 and U+0085": (
        CSV + "line\u2028paragraph\u0085end,a\n,b\n".encode(),
        ['t.csv:5: "text" is empty'],
    ),
    "quote never closed": (
        CSV + b'"three,a\nfour,b\n',
        ["t.csv:4: is not CSV: a quote that opens in this row is never closed"],
    ),
    "text after a closing quote": (
        CSV + b'"three" or four,a\nfive,b\n',
        ["t.csv:4: is not CSV: ',' expected after '\"'"],
    ),
    "carriage return alone": (
        CSV + b"three\rfour,a\n",
        ["t.csv:4: is not CSV: a carriage return stands alone; end lines with LF or CRLF, or quote the value"],
    ),
    "value too long": (
        CSV + b"x" * 200_000 + b",a\n",
        ["t.csv:4: is not CSV: a value has over 131,072 characters; is a quote not closed?"],
    ),
    "cut last line": (CSV + b"thr", [f"t.csv:4: has 1 column, the header has 2{CUT}"]),
    "header lacks a column": (
        b"text,intent\none,a\n",
        ['t.csv:1: no column "label"; the header has: text, intent; name yours in [data.columns]'],
    ),
    "header has a column twice": (
        b"text,label,label\none,a,b\n",
        ['t.csv:1: 2 columns "label"; the header has: text, label, label; name yours in [data.columns]'],
    ),
    "empty file": (b"", ["t.csv: is empty"]),
    "only blank lines": (b"\n\r\n", ["t.csv: is empty"]),
    "only a header": (b"text,label\n", ["train: no row is left"]),
    "conflicting labels": (
        CSV + b"  ONE ,b\n",
        ['t.csv:4: its label is "b", but t.csv:2 has the same text as "a"'],
    ),
    "conflict with the test file": (
        CSV + b"Test One,b\n",
        ['t.csv:4: its label is "b", but test.jsonl:1 has the same text as "a"'],
    ),
    "one label only": (
        b"text,label\none,a\nthree,a\n",
        ['dev.jsonl:2: the label "b" does not occur in train', 'test.jsonl:2: the label "b" does not occur in train'],
    ),
}

JSONL_FAULTS = {
    "does not parse": (
        JSONL + b"{'text': 1}\n",
        "is not JSON: Expecting property name enclosed in double quotes at character 2",
    ),
    "cut last line": (JSONL + b'{"text": "thr', f"is not JSON: Unterminated string starting at at character 10{CUT}"),
    "not an object": (JSONL + b'["three", "a"]\n', "is a list, not an object"),
    "a bare number": (JSONL + b"3\n", "is a number (3), not an object"),
    "missing key": (JSONL + b'{"text": "three", "Label": "a"}\n', 'no key "label"; its keys: text, Label'),
    "number": (JSONL + b'{"text": "three", "label": 3}\n', '"label" is a number (3), not a text'),
    "null": (JSONL + b'{"text": null, "label": "a"}\n', '"text" is null, not a text'),
    "list": (JSONL + b'{"text": ["three"], "label": "a"}\n', '"text" is a list, not a text'),
    "object": (JSONL + b'{"text": {}, "label": "a"}\n', '"text" is an object, not a text'),
    "boolean": (JSONL + b'{"text": "three", "label": true}\n', '"label" is true or false, not a text'),
    "NaN": (JSONL + b'{"text": "three", "label": NaN}\n', "is not JSON: NaN is not a JSON value"),
    "key twice": (
        JSONL + b'{"text": "three", "label": "a", "text": "four"}\n',
        'is not JSON: the key "text" stands there twice',
    ),
    "escaped NUL": (JSONL + b'{"text": "th\\u0000ree", "label": "a"}\n', '"text" has a NUL character'),
    "half a surrogate pair": (JSONL + b'{"text": "\\ud83d", "label": "a"}\n', '"text" has half of a surrogate pair'),
    "not UTF-8": (JSONL + b'{"text": "\xff", "label": "a"}\n', "is not UTF-8: byte 0xff at byte 11 of the line"),
    "nested too deep": (
        JSONL + b"[" * 100_000 + b"\n",
        "is not JSON: maximum recursion depth exceeded while decoding a JSON array from a unicode string",
    ),
    "list of several labels": (
        JSONL + b'{"text": "three", "label": ["a", "b"]}\n',
        '"label" is a list of 2 labels, and a row has one; data.one_label_only = true leaves such rows out',
    ),
    "list without a label": (JSONL + b'{"text": "three", "label": []}\n', '"label" is a list without a label'),
    "list of a number": (JSONL + b'{"text": "three", "label": [3]}\n', '"label" is a number (3), not a text'),
}


def parquet(**columns: list[str | None]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


MANY = gzip.compress(b"".join(b'{"text": "row %d", "label": "a"}\n' % number for number in range(1000)))
# Name of the file, its bytes, and all that is said of it.
FILE_FAULTS = {
    "cut gzip": (
        "t.jsonl.gz",
        MANY[:-8],
        [
            "t.jsonl.gz:1001: the gzip data are cut or damaged here: "
            "Compressed file ended before the end-of-stream marker was reached"
        ],
    ),
    "damaged gzip": (
        "t.jsonl.gz",
        MANY[:-8] + bytes(8),
        ["t.jsonl.gz:1001: the gzip data are cut or damaged here: CRC check failed 0x0 != 0x3c33f795"],
    ),
    "plain file with a gz name": (
        "t.csv.gz",
        CSV,
        ["t.csv.gz:1: the gzip data are cut or damaged here: Not a gzipped file (b'te')"],
    ),
    "unknown kind of file": (
        "t.xlsx.gz",
        b"",
        ['t.xlsx.gz: ".xlsx" is not a kind of data file; known are .csv, .tsv, .jsonl, .parquet, each also with .gz'],
    ),
    "line over the limit": (
        "t.jsonl",
        JSONL + b"x" * (16 << 20) + b"\n",
        ["t.jsonl:3: the line is over 16 MiB"],
    ),
    "values of Parquet": (
        "t.parquet",
        parquet(text=["one", None, "", "two"], label=["a", "b", "b", "b"]),
        ['t.parquet:2: "text" is null, not a text', 't.parquet:3: "text" is empty'],
    ),
    "Parquet without the column": (
        "t.parquet",
        parquet(text=["one"], y=["a"]),
        ['t.parquet: no column "label"; the header has: text, y; name yours in [data.columns]'],
    ),
    "Parquet without a row": ("t.parquet", parquet(text=[], label=[]), ["t.parquet: is empty"]),
    "label only in dev and test": (
        "t.csv",
        b"text,label\none,a\ntwo,c\n",
        ['dev.jsonl:2: the label "b" does not occur in train', 'test.jsonl:2: the label "b" does not occur in train'],
    ),
}


@pytest.mark.parametrize(("content", "problems"), CSV_FAULTS.values(), ids=CSV_FAULTS)
def test_bad_csv_is_named_by_line(tmp_path: Path, content: bytes, problems: list[str]) -> None:
    assert problems_of(tmp_path, "t.csv", content) == problems


@pytest.mark.parametrize(("content", "reason"), JSONL_FAULTS.values(), ids=JSONL_FAULTS)
def test_bad_jsonl_is_named_by_line(tmp_path: Path, content: bytes, reason: str) -> None:
    [problem] = problems_of(tmp_path, "t.jsonl", content)

    assert problem == f"t.jsonl:3: {reason}"


@pytest.mark.parametrize(("name", "content", "problems"), FILE_FAULTS.values(), ids=FILE_FAULTS)
def test_bad_files_of_other_kinds_are_named(tmp_path: Path, name: str, content: bytes, problems: list[str]) -> None:
    assert problems_of(tmp_path, name, content) == problems


def test_there_are_thirty_kinds_with_a_message_each() -> None:
    """Two messages are of one kind if they differ in the place, the numbers and the quoted names alone."""
    messages = [problem for _, problems in CSV_FAULTS.values() for problem in problems]
    messages += [f"t.jsonl:3: {reason}" for _, reason in JSONL_FAULTS.values()]
    messages += [problem for _, _, problems in FILE_FAULTS.values() for problem in problems]

    reasons = {re.sub(r'".*?"|\d+', "", message.split(": ", 1)[1]) for message in messages}

    assert len(reasons) >= 30, sorted(reasons)


def test_missing_file_is_reported_beside_the_faults_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_bytes(GOOD_DEV + b"oops\n")
    (tmp_path / "test.jsonl").write_bytes(GOOD_TEST)
    data = FileData(source="files", train="none.csv", dev="dev.jsonl", test="test.jsonl")

    with pytest.raises(DataError) as caught:
        load_files(data, tmp_path, "classify")

    assert caught.value.problems[:2] == [
        "none.csv: cannot be read: No such file or directory",
        "dev.jsonl:3: is not JSON: Expecting value at character 1",
    ]


def test_folder_in_place_of_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(DataError) as caught:
        load_files(FileData(source="files", train="folder.csv"), tmp_path, "classify")

    assert caught.value.problems == ["folder.csv: is a folder; name a data file in it"]


@pytest.mark.parametrize("name", ["t.parquet", "t.parquet.gz"])
def test_broken_parquet_is_reported(tmp_path: Path, name: str) -> None:
    problems = problems_of(tmp_path, name, gzip.compress(b"PAR1 not") if name.endswith(".gz") else b"PAR1 not")

    assert problems[0].startswith(f"{name}: cannot be read as Parquet: ")


def test_other_bytes_than_the_recipe_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(CSV)
    data = FileData(source="files", train="t.csv", sha256={"t.csv": "0" * 64, "other.csv": "1" * 64})

    with pytest.raises(DataError) as caught:
        load_files(data, tmp_path, "classify")

    assert caught.value.problems == [
        f"t.csv: sha256 is {hashlib.sha256(CSV).hexdigest()},"
        f" the recipe says {'0' * 64}: other bytes than it was written for",
        "other.csv: [data.sha256] names it, but no split reads it",
    ]


def test_all_faults_are_counted_and_a_hundred_are_shown(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(CSV + b",a\n" * 250)

    with pytest.raises(DataError) as caught:
        load_files(FileData(source="files", train="t.csv"), tmp_path, "classify")

    shown = str(caught.value).splitlines()
    assert len(caught.value.problems) == 250
    assert shown[0] == "the data have 250 faults; nothing was trained"
    assert "250 rejected + 0 deduplicated" in shown[1]
    assert shown[-1] == "… and 150 more"
    assert sum("is empty" in line for line in shown) == 100


def test_embedding_rows_need_their_columns(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_bytes(
        b'{"text": "q", "positive": "p"}\n{"text": "r", "positive": "s", "hard": 1}\n'
    )
    columns = Columns(negative="hard")

    with pytest.raises(DataError) as caught:
        load_files(FileData(source="files", train="pairs.jsonl", columns=columns), tmp_path, "embed")

    assert caught.value.problems == [
        'pairs.jsonl:1: no key "hard"; its keys: text, positive',
        'pairs.jsonl:2: "hard" is a number (1), not a text',
    ]
