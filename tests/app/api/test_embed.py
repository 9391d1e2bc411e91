import base64

import numpy as np
import pytest
from numpy.typing import NDArray

from app.api.rendering import SLICE_ROWS
from app.api.schemas import EmbedResponse
from app.settings import Limits, Settings
from tests.app.api.conftest import MakeClient
from tests.fakes import Client, error_of, fake_row
from tests.stores import DIMENSIONS, MAX_TOKENS, byte_tokenizer

OCTETS = {"accept": "application/octet-stream"}


def raw(text: str) -> NDArray[np.float32]:
    """What the graph gives for a text."""
    return fake_row(np.array(byte_tokenizer().encode(text).ids, np.int32), DIMENSIONS)


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / np.linalg.norm(vector)


def test_each_text_gets_its_vector_in_order(client: Client) -> None:
    response = client.post("/embed", {"texts": ["one", "two", ""]})

    body = response.json()
    assert response.status_code == 200
    assert EmbedResponse.model_validate(body).model_dump() == body
    assert np.array(body.pop("embeddings")) == pytest.approx(np.stack([unit(raw(t)) for t in ("one", "two", "")]))
    assert body == {
        "model": "embedder",
        "version": 1,
        "space": "space-of-bytes",
        "dimensions": DIMENSIONS,
        "format": "float",
        "items": [
            {"tokens": 5, "truncated": False},
            {"tokens": 5, "truncated": False},
            {"tokens": 2, "truncated": False},
        ],
        "usage": {"tokens": 12},
    }


def test_text_is_the_same_as_a_list_of_one(client: Client) -> None:
    assert client.post("/embed", {"text": "one"}).json() == client.post("/embed", {"texts": ["one"]}).json()


def test_two_texts_are_never_a_pair(client: Client) -> None:
    together = client.post("/embed", {"texts": ["one", "two"]}).json()["embeddings"]
    alone = [client.post("/embed", {"text": text}).json()["embeddings"][0] for text in ("one", "two")]

    assert together == alone


def test_numbers_are_exactly_the_float32_values(client: Client) -> None:
    (vector,) = client.post("/embed", {"text": "one", "normalize": False}).json()["embeddings"]

    assert np.array(vector, np.float32).tolist() == raw("one").tolist()


def test_dimensions_cuts_before_it_normalises(client: Client) -> None:
    body = client.post("/embed", {"text": "one", "dimensions": 3}).json()

    assert body["dimensions"] == 3
    assert np.array(body["embeddings"][0]) == pytest.approx(unit(raw("one")[:3]))


def test_base64_holds_the_same_numbers(client: Client) -> None:
    numbers = client.post("/embed", {"text": "one"}).json()["embeddings"]
    encoded = client.post("/embed", {"text": "one", "format": "base64"}).json()

    assert encoded["format"] == "base64"
    assert np.frombuffer(base64.b64decode(encoded["embeddings"][0]), "<f4").tolist() == pytest.approx(numbers[0])


def test_bytes_hold_the_same_numbers_and_headers_the_rest(client: Client) -> None:
    request = {"texts": ["one", "a" * 40, ""], "truncate": "end", "dimensions": 3}
    said = client.post("/embed", request).json()

    response = client.post("/embed", request, headers=OCTETS)

    rows = np.frombuffer(response.content, "<f4").reshape(3, 3)
    assert rows.tolist() == np.array(said["embeddings"], np.float32).tolist()
    assert response.headers["content-type"] == "application/octet-stream"
    assert {name: value for name, value in response.headers.items() if name.startswith("encodery-")} == {
        "encodery-model": said["model"],
        "encodery-version": str(said["version"]),
        "encodery-space": said["space"],
        "encodery-dimensions": "3",
        "encodery-rows": "3",
        "encodery-tokens": str(said["usage"]["tokens"]),
        "encodery-truncated": "1",
    }


def test_errors_stay_json_where_bytes_are_asked_for(client: Client) -> None:
    assert error_of(client.post("/embed", {"text": "a" * 40}, headers=OCTETS))["code"] == "text_too_long"


def test_bytes_in_base64_are_refused(client: Client) -> None:
    error = error_of(client.post("/embed", {"text": "a", "format": "base64"}, headers=OCTETS))

    assert (error["code"], error["param"]) == ("invalid_request", "format")


def test_answer_of_many_texts_is_the_answers_of_each(client: Client, make_client: MakeClient) -> None:
    """Long answers are written in slices."""
    texts = [f"text {number}" for number in range(3 * SLICE_ROWS + 1)]
    many = make_client(settings=Settings(limits=Limits(texts=len(texts))))

    for options in ({}, {"format": "base64"}):
        answer = many.post("/embed", {"texts": texts, **options}).json()
        assert answer["embeddings"] == [
            client.post("/embed", {"text": text, **options}).json()["embeddings"][0] for text in texts
        ]
        assert len(answer["items"]) == len(texts)


@pytest.mark.parametrize(("side", "kept"), [("end", "a" * 14), ("start", "b" * 14)])
def test_cut_text_is_told_and_equals_its_rest(client: Client, side: str, kept: str) -> None:
    cut = client.post("/embed", {"text": "a" * 40 + "b" * 40, "truncate": side}).json()

    assert cut["items"] == [{"tokens": MAX_TOKENS, "truncated": True}]
    assert cut["embeddings"] == client.post("/embed", {"text": kept}).json()["embeddings"]


def test_model_version_and_head_can_be_named(client: Client) -> None:
    named = {
        "text": "one",
        "model": "embedder",
        "version": 1,
        "head": "embedding",
        "timeout_ms": 1000,
        "priority": "bulk",
    }

    assert client.post("/embed", named).json() == client.post("/embed", {"text": "one"}).json()


def test_null_is_the_same_as_leaving_out(client: Client) -> None:
    nothing = {"text": "one", "texts": None, "model": None, "dimensions": None, "normalize": None}

    assert client.post("/embed", nothing).json() == client.post("/embed", {"text": "one"}).json()


@pytest.mark.parametrize("text", ["\x00", "é", "👩‍👩‍👧", "日本", "a\r\nb"])
def test_any_unicode_text_is_a_text(client: Client, text: str) -> None:
    body = client.post("/embed", {"text": text, "truncate": "end"}).json()

    assert body["usage"]["tokens"] == min(len(text.encode()) + 2, MAX_TOKENS)


def test_more_dimensions_than_the_model_has_are_refused(client: Client) -> None:
    error = error_of(client.post("/embed", {"text": "one", "dimensions": 9}))

    assert (error["code"], error["param"]) == ("invalid_request", "dimensions")
    assert error["message"] == "`dimensions` is 9; this model has 8; ask for at most as many"


def test_classifier_cannot_embed(client: Client) -> None:
    error = error_of(client.post("/embed", {"text": "one", "model": "intents"}))

    assert error["message"] == "model intents does classify, not embed; models that do embed: embedder"
