from collections.abc import Mapping
from typing import Any

import pytest

from app.api.openapi import CLASSIFY_EXAMPLES, EMBED_EXAMPLES
from app.api.parsing import parse
from app.api.rendering import json_bytes
from app.api.schemas import ClassifyRequest, EmbedRequest, TextRequest
from app.errors import table
from tests.fakes import Client


@pytest.fixture(scope="module")
def document(client: Client) -> Mapping[str, Any]:
    body: Mapping[str, Any] = client.get("/openapi.json").json()
    return body


def test_every_endpoint_is_described(document: Mapping[str, Any]) -> None:
    assert {path: list(methods) for path, methods in document["paths"].items()} == {
        "/embed": ["post"],
        "/classify": ["post"],
        "/models": ["get"],
        "/models/{name}": ["get"],
        "/live": ["get"],
        "/ready": ["get"],
        "/metrics": ["get"],
    }


@pytest.mark.parametrize(("path", "shape"), [("/embed", EmbedRequest), ("/classify", ClassifyRequest)])
def test_request_body_is_the_model_that_parses_it(
    document: Mapping[str, Any], path: str, shape: type[TextRequest]
) -> None:
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]

    assert set(schema["properties"]) == set(shape.model_fields)
    assert schema["additionalProperties"] is False
    assert all("description" in field for field in schema["properties"].values())


@pytest.mark.parametrize("path", ["/embed", "/classify"])
def test_every_error_status_has_the_envelope_and_an_example_of_each_code(
    document: Mapping[str, Any], path: str
) -> None:
    responses = document["paths"][path]["post"]["responses"]

    for error in table():
        content = responses[str(error.status)]["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
        assert content["examples"][error.code]["value"]["error"]["code"] == error.code
    assert set(responses) == {"200", *(str(error.status) for error in table())}


@pytest.mark.parametrize(
    ("shape", "example"),
    [
        *((EmbedRequest, example) for example in EMBED_EXAMPLES.values()),
        *((ClassifyRequest, example) for example in CLASSIFY_EXAMPLES.values()),
    ],
)
def test_examples_are_valid_requests(shape: type[TextRequest], example: Mapping[str, object]) -> None:
    parse(json_bytes(example), shape)
