"""A body may be long, or have many values, but not so many that parsing it holds up everybody else."""

import orjson
import pytest

from app.api.density import check
from app.errors import InvalidRequestError

TEXTS = 2048

FINE = {
    "a long text": orjson.dumps({"text": "a, [b] {c}, " * 100_000}),
    "many long texts": orjson.dumps({"texts": ['{"a": [1, 2], "b\\\\": "\\""}' * 20] * TEXTS}),
    "some texts too many": orjson.dumps({"texts": ["a" * 40] * 3000}),
    "blanks": b'{"text": "a"' + b" " * 1_000_000 + b"}",
    "short and dense": b"[" * 60_000,
    "an end that is escaped": b'{"text": "' + b'\\"' * 100_000 + b'"}',
    "slashes before the end": b'{"text": "' + b"\\\\" * 100_000 + b'"}',
    "not ended": b'{"text": "' + b"a" * 100_000,
}
DENSE = {
    "arrays": b'{"text": "a", "x": [' + b"[]," * 50_000 + b"1]}",
    "fields": b"{" + b",".join(b'"k%d":0' % i for i in range(50_000)) + b"}",
    "texts": orjson.dumps({"texts": ["a"] * 50_000}),
    "depth": b"[" * 100_000,
    "arrays after an escaped end": b'{"text": "\\\\\\"", "x": [' + b"[]," * 50_000 + b"1]}",
}


@pytest.mark.parametrize("body", FINE.values(), ids=FINE)
def test_body_that_is_cheap_to_parse_passes(body: bytes) -> None:
    check(body, TEXTS)


@pytest.mark.parametrize("body", DENSE.values(), ids=DENSE)
def test_body_with_more_values_than_any_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="more than 32768 values; send at most 2048 texts in a request"):
        check(body, TEXTS)


def test_a_service_that_takes_more_texts_takes_more_values() -> None:
    check(DENSE["texts"], 10_000)
