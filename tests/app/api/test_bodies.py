"""Whatever bytes arrive, the answer is a documented status with the documented body."""

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.schemas import ClassifyResponse, EmbedResponse
from app.errors import table
from tests.fakes import Client, error_of
from tests.stores import HEADS

DOCUMENTED = {(error.status, error.code) for error in table()}
HEADERS = ["accept", "content-encoding", "content-length", "content-type", "traceparent", "x-request-id"]
JSON = {"content-type": "application/json"}

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    scalars | words, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4)
)
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "texts": st.lists(words, max_size=9) | json_values,
        "text": words | json_values,
        "model": st.sampled_from([*HEADS, "nobody"]) | json_values,
        "truncate": st.sampled_from(["error", "end", "start", "window"]) | json_values,
        "format": st.sampled_from(["float", "base64", "int8"]) | json_values,
        **{name: json_values for name in ("version", "head", "normalize", "dimensions", "top_k", "threshold")},
        **{name: json_values for name in ("raw_scores", "timeout_ms", "prompt")},
    },
)
paths = st.sampled_from([("/embed", EmbedResponse), ("/classify", ClassifyResponse)])


@given(path=paths, body=json_values | near_misses)
@settings(max_examples=150, deadline=None)
def test_any_json_gets_a_documented_answer(client: Client, path: tuple[str, type[Any]], body: object) -> None:
    response = client.post(path[0], content=orjson.dumps(body), headers=JSON)

    if response.status_code == 200:
        path[1].model_validate(response.json())
    else:
        assert (response.status_code, error_of(response)["code"]) in DOCUMENTED
        assert response.status_code < 500


@given(path=paths, body=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_get_a_documented_answer(client: Client, path: tuple[str, type[Any]], body: bytes) -> None:
    response = client.post(path[0], content=body, headers=JSON)

    assert (response.status_code, error_of(response)["code"]) in DOCUMENTED
    assert response.status_code < 500


@given(headers=st.dictionaries(st.sampled_from(HEADERS), st.binary(max_size=40)))
@settings(max_examples=100, deadline=None)
def test_any_header_bytes_get_a_documented_answer(client: Client, headers: dict[str, bytes]) -> None:
    response = client.post("/embed", content=b'{"text": "a"}', headers=list(headers.items()))

    assert response.status_code == 200 or (response.status_code, error_of(response)["code"]) in DOCUMENTED


@pytest.mark.parametrize("sizes", [[1] * 13, [5, 0, 8], [13]], ids=str)
def test_body_in_pieces_is_one_body(client: Client, sizes: list[int]) -> None:
    body = b'{"text": "a"}'

    async def pieces() -> Any:  # noqa: ANN401
        start = 0
        for size in sizes:
            yield body[start : start + size]
            start += size

    assert asyncio.run(client.send("POST", "/embed", content=pieces(), headers=JSON)).status_code == 200


def test_endless_body_is_refused_at_the_limit(client: Client) -> None:
    """Chunked, so that no length was announced; the rest is never asked for."""
    asked: list[int] = []

    async def endless() -> Any:  # noqa: ANN401
        while True:
            asked.append(len(asked))
            yield b"a" * 1024

    response = asyncio.run(client.send("POST", "/embed", content=endless(), headers=JSON))

    assert (response.status_code, error_of(response)["code"]) == (413, "body_too_large")
    assert len(asked) <= 6


def test_wrong_items_are_not_all_reported(client: Client) -> None:
    """One error is enough: a list of a million numbers must not make a million messages."""
    response = client.post("/embed", content=b'{"texts": [' + b"1," * 1000 + b"1]}", headers=JSON)

    assert error_of(response)["index"] == 0
    assert len(response.content) < 500
