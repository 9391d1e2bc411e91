"""Rows of numbers through /embed and /classify, over the real engine, beside a model of texts."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from app.api.density import NUMBERS, check
from app.api.schemas import ClassifyResponse, EmbedResponse
from app.engine.load import load_model
from app.engine.local import LocalEngine
from app.errors import InvalidRequestError
from app.main import create_app
from app.serving.catalog import Catalog
from app.settings import Limits, Settings
from app.types import ModelKey
from tests.fakes import Client, error_of
from tests.stores import EMBED, INTENT, write_bundle
from tests.vectors import DIMENSIONS, LABELS, MAX_STEPS, WIDTH, answer, as_json, some_rows, write_vectors

KEYS = [ModelKey("single", 1), ModelKey("series", 1)]
LIMITS = Limits(texts=8, request_tokens=20)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of single vectors, one of sequences, and one of texts that no engine here holds."""
    store: Path = tmp_path_factory.mktemp("store")
    write_vectors(store, is_sequence=False, name="single")
    write_vectors(store, is_sequence=True, name="series")
    write_bundle(store, "texts", 1, [EMBED, INTENT])
    return store


def ask(store: Path, path: str, *bodies: Mapping[str, object], cache_bytes: int = 0) -> list[httpx.Response]:
    async def run() -> list[httpx.Response]:
        models = [load_model(store / key.name / "1", "cpu", lanes=1) for key in KEYS]
        engine = LocalEngine(models, lanes=1, cache_bytes=cache_bytes)
        engine.start()
        client = Client(create_app(Settings(limits=LIMITS), engine, Catalog.open(store, [*KEYS, ModelKey("texts", 1)])))
        try:
            return [await client.send("POST", path, json=body) for body in bodies]
        finally:
            await engine.close()

    return asyncio.run(run())


@pytest.mark.parametrize(("model", "is_sequence"), [("single", False), ("series", True)])
def test_each_row_gets_its_vector_in_order(store: Path, model: str, is_sequence: bool) -> None:
    rows = some_rows(7, is_sequence=is_sequence, seed=8)
    wish = {"model": model, "vectors": as_json(rows, is_sequence=is_sequence), "normalize": False}

    (response,) = ask(store, "/embed", wish)

    body = response.json()
    assert response.status_code == 200, response.text
    assert EmbedResponse.model_validate(body).model_dump() == body
    expected = np.stack([answer(row)[0] for row in rows])
    assert np.abs(np.array(body["embeddings"]) - expected).max() < 1e-5
    assert body["items"] == [{"tokens": len(row), "truncated": False} for row in rows]
    assert body["dimensions"] == DIMENSIONS


def test_rows_are_classified(store: Path) -> None:
    rows = some_rows(5, is_sequence=True, seed=9)

    (response,) = ask(store, "/classify", {"model": "series", "vectors": as_json(rows, is_sequence=True)})

    body = response.json()
    assert ClassifyResponse.model_validate(body).model_dump(exclude_none=True) == body
    expected = [LABELS[int(answer(row)[1].argmax())] for row in rows]
    assert [prediction["label"] for prediction in body["predictions"]] == expected


def test_a_kept_output_is_that_of_the_same_numbers(store: Path) -> None:
    """Rows of one shape, equal ones and others, with outputs kept between two requests."""
    rows = as_json(some_rows(3, is_sequence=False), is_sequence=False)
    bodies = [{"model": "single", "vectors": each} for each in (rows, [rows[1], rows[0], rows[1]])]

    first, second = ask(store, "/embed", *bodies, cache_bytes=2**20)

    vectors = first.json()["embeddings"]
    assert second.json()["embeddings"] == [vectors[1], vectors[0], vectors[1]]


def test_a_row_that_is_too_long_is_cut_where_asked(store: Path) -> None:
    long = some_rows(MAX_STEPS, is_sequence=True)[-1]
    row = np.concatenate([long, long[:1] + 1])
    bodies = [
        {"model": "series", "vectors": [part.tolist()], "truncate": truncate}
        for part, truncate in ((row, "end"), (row[:-1], "error"), (row, "start"), (row[1:], "error"))
    ]

    cut, head, start, tail = (response.json() for response in ask(store, "/embed", *bodies))

    assert cut["embeddings"] == head["embeddings"]
    assert start["embeddings"] == tail["embeddings"] != head["embeddings"]
    assert cut["items"] == start["items"] == [{"tokens": MAX_STEPS, "truncated": True}]


VECTOR = [0.5] * WIDTH
REFUSED: Mapping[str, tuple[Mapping[str, Any], str, str | None, int | None]] = {
    "texts for a model of vectors": (
        {"model": "single", "texts": ["one"]},
        "model single reads vectors, not texts; send `vectors`, a list of 4 numbers for each row, or name a model of "
        "texts in `model`",
        "texts",
        None,
    ),
    "a text for a model of sequences": (
        {"model": "series", "text": "one"},
        "model series reads vectors, not texts; send `vectors`, a list of 4 numbers for each step of a row, or name a "
        "model of texts in `model`",
        "text",
        None,
    ),
    "vectors for a model of texts": (
        {"model": "texts", "vectors": [VECTOR]},
        "model texts reads texts, not vectors; send `texts`, or name a model of vectors in `model`",
        "vectors",
        None,
    ),
    "both": (
        {"model": "single", "vectors": [VECTOR], "text": "one"},
        "send exactly one of `text`, `texts` and `vectors`: 2 are given",
        "texts",
        None,
    ),
    "no rows": ({"model": "single", "vectors": []}, "`vectors` is empty; send at least one row", "vectors", None),
    "another width": (
        {"model": "single", "vectors": [VECTOR, [1.0]]},
        "`vectors[1]` has vectors of 1 values; this model takes 4",
        "vectors[1]",
        1,
    ),
    "a sequence for a model of single vectors": (
        {"model": "single", "vectors": [[VECTOR]]},
        "`vectors[0]` is a sequence of vectors, a list of lists of numbers; this model takes one vector, a list of "
        "numbers",
        "vectors[0]",
        0,
    ),
    "no number": (
        {"model": "single", "vectors": [VECTOR, [0.0, "1", 0.0, 0.0]]},
        "`vectors[1]` has at [1] what is not a number",
        "vectors[1]",
        1,
    ),
    "one vector instead of a list": (
        {"model": "single", "vectors": VECTOR},
        "`vectors[0]` is not a list of numbers, or of lists of numbers",
        "vectors[0]",
        0,
    ),
    "no list": ({"model": "single", "vectors": 3}, "`vectors` must be a valid list", "vectors", None),
    "too long": (
        {"model": "series", "vectors": [[VECTOR] * (MAX_STEPS + 1)]},
        '`vectors[0]` has 6 vectors; this model takes 5; send "truncate": "end"',
        "vectors[0]",
        0,
    ),
    "too many rows": (
        {"model": "single", "vectors": [VECTOR] * 9},
        "the request has 9 vectors; the service takes 8; send it in parts",
        "vectors",
        None,
    ),
    "too many steps in all": (
        {"model": "series", "vectors": [[VECTOR] * MAX_STEPS] * 5},
        "the request has 25 vectors in all; the service takes 20; send it in parts",
        "vectors",
        None,
    ),
}


def test_refusals_name_the_row_and_the_way_out(store: Path) -> None:
    responses = ask(store, "/embed", *(body for body, *_ in REFUSED.values()))

    for response, (name, (_, message, param, index)) in zip(responses, REFUSED.items(), strict=True):
        error = error_of(response)
        assert (response.status_code, error["message"]) == (422, message), name
        assert (error["param"], error["index"]) == (param, index), name


def test_models_say_what_they_read(store: Path) -> None:
    catalog = Catalog.open(store, [*KEYS, ModelKey("texts", 1)])
    client = Client(create_app(Settings(), LocalEngine([], lanes=1), catalog))

    found = {model["id"]: (model["modality"], model["vectors"]) for model in client.get("/models").json()["data"]}

    assert found == {
        "single": ("vectors", {"width": WIDTH, "is_sequence": False}),
        "series": ("vectors", {"width": WIDTH, "is_sequence": True}),
        "texts": ("text", None),
    }


def test_a_request_may_hold_many_numbers_but_not_any_number() -> None:
    def body(numbers: int) -> bytes:
        return orjson.dumps({"vectors": [[0.5] * 1000] * (numbers // 1000)})

    check(body(NUMBERS - 1000), 2048)
    with pytest.raises(InvalidRequestError, match=f"more than {NUMBERS} numbers; send the vectors in several requests"):
        check(body(NUMBERS + 1000), 2048)
    with pytest.raises(InvalidRequestError, match="more than 32768 values"):
        check(b'{"vectors": [' + b"[]," * 50_000 + b"1]}", 2048)
