import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import pytest

from app.telemetry.ids import Trace
from app.telemetry.logging import RequestRecord, configure, refused, sinks, write

RECORD = RequestRecord(
    request_id="r-1",
    trace=Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "01"),
    method="POST",
    route="/embed",
    status=200,
    ms=1.23456,
    model="minilm",
    version=2,
    texts=3,
    tokens=40,
)


@pytest.fixture(autouse=True)
def root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, sinks[:]
    yield
    root.handlers[:], root.level, sinks[:] = handlers, level, before


def lines(
    record: RequestRecord, log_format: Literal["auto", "json", "text"], capture: pytest.CaptureFixture[str]
) -> str:
    configure(log_format)
    write(record)
    return capture.readouterr().err


def test_json_line_has_every_field_once(capfd: pytest.CaptureFixture[str]) -> None:
    line = json.loads(lines(RECORD, "json", capfd))

    del line["time"]
    assert line == {
        "level": "info",
        "logger": "encodery.request",
        "method": "POST",
        "route": "/embed",
        "status": 200,
        "ms": 1.235,
        "request_id": "r-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "model": "minilm",
        "version": 2,
        "texts": 3,
        "tokens": 40,
    }


def test_text_line_is_short(capfd: pytest.CaptureFixture[str]) -> None:
    line = lines(RECORD, "text", capfd)

    assert line.endswith("INFO    POST /embed 200 1.2 ms  minilm@2  3 texts, 40 tokens\n")


def test_auto_is_json_where_nobody_reads_along(capfd: pytest.CaptureFixture[str]) -> None:
    assert json.loads(lines(RECORD, "auto", capfd))["status"] == 200


def test_fault_is_an_error_with_code_and_types(capfd: pytest.CaptureFixture[str]) -> None:
    fault = replace(RECORD, status=500, error="internal_error", detail="InternalError < ZeroDivisionError")

    line = json.loads(lines(fault, "json", capfd))

    assert (line["level"], line["error"], line["detail"]) == (
        "error",
        "internal_error",
        "InternalError < ZeroDivisionError",
    )


def test_probes_that_went_well_leave_no_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert lines(replace(RECORD, route="/ready"), "json", capfd) == ""
    assert lines(replace(RECORD, route="/ready", status=503), "json", capfd) != ""


def test_requests_refused_under_load_share_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    shed = replace(RECORD, status=429, error="overloaded")
    configure("json")
    refused.write()  # what other tests have left
    capfd.readouterr()
    for _ in range(3):
        write(shed)
    assert capfd.readouterr().err == ""

    refused.write()
    refused.write()

    line = json.loads(capfd.readouterr().err)
    assert line["message"] == "refused 3 requests: the predicted wait was over the limit"
    assert line["level"] == "warning"


def test_line_breaks_cannot_forge_a_line() -> None:
    configure("json")
    stream = io.StringIO()
    logging.getLogger().handlers[0].setStream(stream)  # type: ignore[attr-defined]  # configure made a StreamHandler

    logging.getLogger("anyone").warning('one\n{"level": "info"}\x1b[31m')

    assert len(stream.getvalue().splitlines()) == 1
