"""Every code of the closed table, by a real request; and that no answer holds what was sent."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from app.errors import EngineFailedError, table
from app.settings import AdmissionSettings, Settings
from app.types import Answer, Cost, Timing, Work
from tests.app.api.conftest import MakeClient
from tests.fakes import Client, FakeEngine, Forever, error_of, failing, fake_row
from tests.stores import outputs_of

SECRET = "xyzzy-plugh"
JSON = {"content-type": "application/json"}

# path, request options, status, code, param, index
Case = tuple[str, Mapping[str, Any], int, str, str | None, int | None]


def post(value: object, path: str = "/embed", **headers: str) -> tuple[str, dict[str, Any]]:
    """A JSON body, also one that the standard library writes but the standard does not know (NaN)."""
    return path, {"content": json.dumps(value).encode(), "headers": JSON | headers}


def raw(content: bytes, **headers: str) -> tuple[str, dict[str, Any]]:
    return "/embed", {"content": content, "headers": JSON | headers}


TWO_CODINGS = [("content-type", "application/json"), ("content-encoding", "gzip"), ("content-encoding", "identity")]
CASES: dict[str, Case] = {
    "no JSON": (*raw(b'{"text": "' + SECRET.encode()), 400, "invalid_json", None, None),
    "no body": (*raw(b""), 400, "invalid_json", None, None),
    "wrong UTF-8": (*raw(b'{"text": "\xff"}'), 400, "invalid_json", None, None),
    "half a surrogate pair": (*raw(b'{"text": "\\ud800"}'), 400, "invalid_json", None, None),
    "NaN": (*post({"text": SECRET, "threshold": float("nan")}, "/classify"), 400, "invalid_json", None, None),
    "too deep": (*raw(b"[" * 4000), 400, "invalid_json", None, None),
    "no object": (*post([SECRET]), 422, "invalid_request", None, None),
    "neither text nor texts": (*post({}), 422, "invalid_request", "texts", None),
    "text and texts": (*post({"text": SECRET, "texts": [SECRET]}), 422, "invalid_request", "texts", None),
    "empty list": (*post({"texts": []}), 422, "invalid_request", "texts", None),
    "a text that is a number": (*post({"texts": [SECRET, 3]}), 422, "invalid_request", "texts[1]", 1),
    "a pair": (*post({"texts": [[SECRET, SECRET]]}), 422, "invalid_request", "texts[0]", 0),
    "texts as a string": (*post({"texts": SECRET}), 422, "invalid_request", "texts", None),
    "wrong type": (*post({"text": SECRET, "normalize": 1}), 422, "invalid_request", "normalize", None),
    "unknown field": (*post({"text": "a", SECRET: 1}), 422, "invalid_request", None, None),
    "unknown value": (*post({"text": "a", "truncate": SECRET}), 422, "invalid_request", "truncate", None),
    "no dimensions": (*post({"text": "a", "dimensions": 0}), 422, "invalid_request", "dimensions", None),
    "huge dimensions": (*post({"text": "a", "dimensions": 10**30}), 422, "invalid_request", "dimensions", None),
    "no top_k": (*post({"text": "a", "top_k": 0}, "/classify"), 422, "invalid_request", "top_k", None),
    "no time": (*post({"text": "a", "timeout_ms": 0}), 422, "invalid_request", "timeout_ms", None),
    "too much time": (*post({"text": "a", "timeout_ms": 30_001}), 422, "invalid_request", "timeout_ms", None),
    "version alone": (*post({"text": "a", "version": 1}), 422, "invalid_request", "model", None),
    "unclear model": (*post({"text": "a"}, "/classify"), 422, "invalid_request", "model", None),
    "unknown model": (*post({"text": "a", "model": SECRET}), 404, "model_not_found", "model", None),
    "unknown version": (
        *post({"text": "a", "model": "embedder", "version": 2}), 404, "model_not_found", "version", None,
    ),
    "unknown head": (*post({"text": "a", "head": SECRET}), 422, "invalid_head", "head", None),
    "prompt": (*post({"text": "a", "prompt": SECRET}), 422, "unsupported_option", "prompt", None),
    "float16": (*post({"text": "a", "format": "float16"}), 422, "unsupported_option", "format", None),
    "int8": (*post({"text": "a", "format": "int8"}), 422, "unsupported_option", "format", None),
    "binary": (*post({"text": "a", "format": "binary"}), 422, "unsupported_option", "format", None),
    "window": (*post({"text": "a", "truncate": "window"}), 422, "unsupported_option", "truncate", None),
    "pairs": (*post({"pairs": [{}]}, "/classify"), 422, "unsupported_option", "pairs", None),
    "coverage": (*post({"text": "a", "coverage": 0.9}, "/classify"), 422, "unsupported_option", "coverage", None),
    "long text": (*post({"texts": ["a", SECRET * 9]}), 422, "text_too_long", "texts[1]", 1),
    "long single text": (*post({"text": SECRET * 9}), 422, "text_too_long", "text", 0),
    "large single text": (*post({"text": "é" * 600}), 422, "request_too_large", "text", 0),
    "many texts": (*post({"texts": ["a"] * 9}), 422, "request_too_large", "texts", None),
    "many tokens": (*post({"texts": ["a" * 14] * 5}), 422, "request_too_large", "texts", None),
    "large text": (*post({"texts": ["a", "é" * 600]}), 422, "request_too_large", "texts[1]", 1),
    "no priority": (*post({"text": "a", "priority": "high"}), 422, "invalid_request", "priority", None),
    "large body": (*post({"text": "a" * 5000}), 413, "body_too_large", None, None),
    "form": ("/embed", {"data": {"text": SECRET}}, 415, "unsupported_media_type", None, None),
    "no media type": ("/embed", {"content": b"{}"}, 415, "unsupported_media_type", None, None),
    "latin-1": (
        *raw(b"{}", **{"content-type": "application/json; charset=latin-1"}), 415, "unsupported_media_type", None, None,
    ),
    "compressed": (*raw(b"{}", **{"content-encoding": "gzip"}), 415, "unsupported_media_type", None, None),
    "compressed, on two lines": (
        "/embed", {"content": b"{}", "headers": TWO_CODINGS}, 415, "unsupported_media_type", None, None,
    ),
    "unknown path": (*post({}, f"/{SECRET}"), 404, "not_found", None, None),
    "path with a slash too many": (*post({}, "/embed/"), 404, "not_found", None, None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_refusal_has_code_place_and_no_echo(client: Client, case: Case) -> None:
    path, options, status, code, param, index = case

    response = client.post(path, **options)

    error = error_of(response)
    assert (response.status_code, error["code"], error["param"], error["index"]) == (status, code, param, index)
    assert error["type"] == "invalid_request_error"
    assert SECRET not in response.text


def test_wrong_method_says_which_are_right(client: Client) -> None:
    response = client.get("/embed")

    assert (response.status_code, error_of(response)["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("sent", "nearest"),
    [("normalise", "normalize"), ("inputs", "texts"), ("input", "texts"), ("encoding_format", "format")],
)
def test_unknown_field_is_answered_with_the_nearest_known(client: Client, sent: str, nearest: str) -> None:
    error = error_of(client.post("/embed", {"text": "a", sent: 1}))

    assert error["message"] == f"the body has a field that is not known; the nearest known one is `{nearest}`"


def test_field_that_is_like_none_is_answered_with_all_there_are(client: Client) -> None:
    error = client.post("/embed", {"text": "a", "zzz": 1}).json()["error"]

    assert "; known are `dimensions`, `format`, `head`" in error["message"]


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=UTF-8", "Application/JSON", 'application/json;charset="utf-8"']
)
def test_json_in_utf8_is_taken_however_it_is_spelt(client: Client, media_type: str) -> None:
    response = client.post("/embed", content=b'{"text": "a"}', headers={"content-type": media_type})

    assert response.status_code == 200


def test_announced_length_over_the_limit_is_refused_unread(client: Client) -> None:
    response = client.post("/embed", content=b"{}", headers=JSON | {"content-length": "99999999999999999999999"})

    assert (response.status_code, response.headers["connection"]) == (413, "close")


def test_overload_is_refused_with_the_time_to_come_back(make_client: MakeClient) -> None:
    slow = Cost(overhead_ms=1.0, ms_per_token=1000.0, lanes=1)
    engine = FakeEngine(outputs_of(), cost=slow)
    client = make_client(engine, Settings(admission=AdmissionSettings(max_wait_ms=1)))
    inside: list[Any] = []

    async def ask_another(work: Work) -> Answer:
        """While a request is in the house, the next one is refused."""
        inside.append(await client.send("POST", "/embed", json={"text": "b"}))
        return await engine.compute(work)

    engine.behaviour = ask_another
    outer = client.post("/embed", {"text": "a"})

    (refused,) = inside
    error = error_of(refused)
    assert outer.status_code == 200
    assert (refused.status_code, error["code"], error["retryable"]) == (429, "overloaded", True)
    assert int(refused.headers["retry-after"]) >= 1
    assert int(refused.headers["retry-after-ms"]) == error["retry_after_ms"] > 0


def test_deadline_ends_a_request_that_the_engine_never_answers(make_client: MakeClient) -> None:
    forever = Forever()
    client = make_client(FakeEngine(outputs_of(), behaviour=forever))

    response = client.post("/embed", {"text": "a", "timeout_ms": 1})

    assert (response.status_code, error_of(response)["code"]) == (504, "deadline_exceeded")
    assert forever.was_cancelled or not forever.began.is_set()  # the deadline may pass before the engine is asked


def test_engine_that_is_not_there_is_503(make_client: MakeClient) -> None:
    response = make_client(FakeEngine(outputs_of(), is_ready=False)).post("/embed", {"text": "a"})

    assert (response.status_code, error_of(response)["code"]) == (503, "not_ready")
    assert response.headers["retry-after"] == "1"


def test_row_that_the_engine_cannot_run_is_named(make_client: MakeClient) -> None:
    failure = EngineFailedError("text 1 could not be run by the model", index=1)

    response = make_client(FakeEngine(outputs_of(), behaviour=failing(failure))).post("/embed", {"texts": ["a", "b"]})

    error = error_of(response)
    assert (response.status_code, error["code"], error["index"]) == (503, "engine_failed", 1)


def test_numbers_that_are_none_are_not_passed_on(make_client: MakeClient) -> None:
    async def broken(work: Work) -> Answer:
        rows = [fake_row(ids, 8) for ids in work.rows]
        rows[1][3] = float("nan")
        return Answer({"sentence_embedding": np.stack(rows)}, Timing(0, 0))

    response = make_client(FakeEngine(outputs_of(), behaviour=broken)).post("/embed", {"texts": ["a", "b"]})

    error = error_of(response)
    assert (error["code"], error["index"]) == ("engine_failed", 1)


def test_fault_of_ours_says_nothing_of_its_cause(make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine(outputs_of(), behaviour=failing(ZeroDivisionError(SECRET)))

    response = make_client(engine).post("/embed", {"text": "a"})

    error = error_of(response)
    assert (response.status_code, error["code"], error["type"]) == (500, "internal_error", "server_error")
    assert "ZeroDivision" not in response.text
    assert f"request {error['request_id']} failed: ZeroDivisionError" in caplog.text
    assert SECRET not in response.text + caplog.text


def test_every_code_of_the_table_is_met_in_this_file() -> None:
    """But for those of the connection, which tests/app/processes meets."""
    met = {"invalid_http", "request_timeout", "head_too_large"} | {case[3] for case in CASES.values()} | {
        "method_not_allowed", "overloaded", "deadline_exceeded", "not_ready", "engine_failed", "internal_error",
    }  # fmt: skip

    assert met == {error.code for error in table()}
