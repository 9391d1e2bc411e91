"""The short way of reading a body takes nothing that the careful way would refuse, and reads it as the same."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.api.schemas import ClassifyRequest, EmbedRequest, TextRequest

SHAPES: list[type[TextRequest]] = [EmbedRequest, ClassifyRequest]
fields = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(max_size=5),
        "texts": st.lists(st.text(max_size=3), max_size=3),
        "threshold": st.floats(),
        "top_k": st.integers() | st.floats(),
        "dimensions": st.integers(-1, 3) | st.just(10**30),
        "truncate": st.sampled_from(["end", "window"]),
        "raw_scores": st.booleans() | st.integers(0, 1),
    },
)
cuts = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 3), st.binary(max_size=3)), max_size=2)


def damaged(value: object, cuts: list[tuple[int, int, bytes]]) -> bytes:
    """JSON of `value`, also what the standard library writes against the standard, with bytes replaced."""
    data = json.dumps(value).encode()
    for start, size, instead in cuts:
        data = data[:start] + instead + data[start + size :]
    return data


@given(value=fields, cuts=cuts, shape=st.sampled_from(SHAPES))
@settings(max_examples=500, deadline=None)
def test_what_is_taken_is_json_and_means_the_same(
    value: object, cuts: list[tuple[int, int, bytes]], shape: type[TextRequest]
) -> None:
    body = damaged(value, cuts)
    try:
        request = shape.model_validate_json(body)
    except ValidationError:
        return

    assert shape.model_validate(orjson.loads(body)) == request


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "a", "threshold": NaN}',
        b'{"text": "a", "threshold": Infinity}',
        b'{"text": "a", "threshold": -Infinity}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b'\xef\xbb\xbf{"text": "a"}',
        b'{"text": "a"} x',
        b'{"text": "a",}',
        b"{'text': 'a'}",
        b'{"text": "a\n"}',
        b'{"text": "a", "top_k": 01}',
        b'{"text": "a", "top_k": 1.0}',
        b'{"text": "a", "top_k": "1"}',
    ],
)
def test_what_is_no_json_or_of_another_type_is_left_to_the_careful_way(body: bytes) -> None:
    with pytest.raises(ValidationError):
        ClassifyRequest.model_validate_json(body)
