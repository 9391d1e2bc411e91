"""Result files keep their schema, and the document says what they say."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks.machine import origin
from benchmarks.report.document import DOCUMENT, RESULT, fill
from benchmarks.schema import RESULTS, Start, file_of, write

OTHERS = ("cuda-", "learning-")  # with schemas of their own
FILES = sorted(path for path in RESULTS.glob("*.json") if not path.name.startswith(OTHERS))


def a_start(**changes: object) -> Start:
    values = {"origin": origin(["start"]), "models": ["m"], "target_s": 5.0, "seconds": [4.0, 3.0], "median_s": 3.5}
    return Start.model_validate(values | changes)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_result_file_keeps_its_schema_and_its_name(path: Path) -> None:
    result = RESULT.validate_json(path.read_bytes())

    assert file_of(result) == path.stem
    assert result.origin.command.startswith("python -m benchmarks ")


def test_every_figure_of_the_document_comes_from_its_file() -> None:
    written = DOCUMENT.read_text(encoding="utf-8")

    assert written == fill(written), "run `python -m benchmarks docs`"


def test_a_result_is_written_and_read_back(tmp_path: Path) -> None:
    path = write(a_start(), tmp_path)

    assert path == tmp_path / "start.json"
    assert RESULT.validate_json(path.read_bytes()) == a_start().model_copy(
        update={"origin": RESULT.validate_json(path.read_bytes()).origin}
    )


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        a_start(colour="green")


def test_a_changed_file_changes_the_document(tmp_path: Path) -> None:
    document = "before\n<!-- figures: start -->\nold\n<!-- end -->\nafter\n"

    missing = fill(document, tmp_path)
    write(a_start(), tmp_path)
    reached = fill(document, tmp_path)
    write(a_start(median_s=5.5), tmp_path)
    missed = fill(document, tmp_path)

    assert "start.json` does not exist" in missing
    assert "**3.5 s (median of 2: 4.00, 3.00) with 1 models (m); the target of 5 s is reached.**" in reached
    assert "the target of 5 s is missed" in missed
    assert all(text.startswith("before\n") and text.endswith("after\n") for text in (missing, reached, missed))


def test_a_result_says_where_it_comes_from() -> None:
    found = origin(["start", "--repeats", "3"])

    assert found.command == "python -m benchmarks start --repeats 3"
    assert found.machine.cores >= 1
    assert found.versions["onnxruntime"]
