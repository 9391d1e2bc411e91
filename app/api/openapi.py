"""What does the OpenAPI document say about an endpoint?

The hot routes are reached without FastAPI (app/api/middleware.py): its routing and dependency solving cost more than
the rest of the way of a short text. So their bodies, answers and errors are described here, from the same models that
parse them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from app.api.schemas import TextRequest
from app.errors import ApiError, table

EMBED_EXAMPLES = {
    "two texts": {"texts": ["a quick brown fox", "ein schneller brauner Fuchs"]},
    "one text, cut vector": {"text": "a quick brown fox", "dimensions": 128, "format": "base64"},
    "vectors, for a model that reads numbers": {"vectors": [[0.0, 5.0, 13.0, 9.0]], "model": "digits"},
    "long texts": {"texts": ["a very long text …"], "truncate": "end", "timeout_ms": 5000},
}
CLASSIFY_EXAMPLES = {
    "one text": {"text": "turn on the kitchen lights"},
    "vectors, for a model that reads numbers": {"vectors": [[0.0, 5.0, 13.0, 9.0]], "model": "digits"},
    "a threshold": {"texts": ["what time is it", "play jazz"], "top_k": 3, "threshold": 0.7},
}

EMBED_BYTES = {
    "description": "The vectors. With `accept: application/octet-stream`: little-endian float32, row after row, and "
    "the other fields as headers, of which encodery-truncated counts the texts that were cut.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        f"encodery-{name}": {"schema": {"type": kind}, "description": "Only with application/octet-stream."}
        for name, kind in {
            "model": "string", "version": "integer", "space": "string", "dimensions": "integer", "rows": "integer",
            "tokens": "integer", "truncated": "integer",
        }.items()
    },
}  # fmt: skip


class ErrorDetail(BaseModel):
    """What went wrong, for a program (`code`) and for a person (`message`)."""

    code: str = Field(description="From the closed table in docs/errors.md.")
    message: str
    type: str
    param: str | None = Field(description="The field of the request it is about.")
    index: int | None = Field(description="The offending text, counted from 0.")
    request_id: str = Field(description="The same as the header x-request-id.")
    retryable: bool
    retry_after_ms: int | None = Field(description="When a repeat may succeed.")


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


class HotRoute(APIRoute):
    """A route that the middleware calls itself, with the bare request; to FastAPI it is a description, and a 405."""


def describe(
    request: type[TextRequest],
    response: type[BaseModel],
    examples: Mapping[str, object],
    success: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Arguments of a route decorator for a JSON body read by hand; `success` adds to the answer 200."""
    content = {
        "schema": request.model_json_schema(),
        "examples": {name: {"value": value} for name, value in examples.items()},
    }
    body = {"required": True, "content": {"application/json": content}}
    return {
        "response_model": response,
        "responses": errors(table()) | ({200: success} if success else {}),
        "openapi_extra": {"requestBody": body},
    }


def errors(classes: Iterable[type[ApiError]]) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, by status, with an example of each code."""
    by_status: dict[int | str, list[type[ApiError]]] = {}
    for error in classes:
        by_status.setdefault(error.status, []).append(error)
    return {
        status: {
            "model": ErrorBody,
            "description": ", ".join(f"`{error.code}`" for error in known),
            "content": {"application/json": {"examples": {error.code: {"value": _example(error)} for error in known}}},
        }
        for status, known in by_status.items()
    }


def _example(error: type[ApiError]) -> dict[str, object]:
    detail = ErrorDetail(
        code=error.code,
        message=(error.__doc__ or "").splitlines()[0],
        type=error.type,
        param=None,
        index=None,
        request_id="0af7651916cd43dd8448eb211c80319c",
        retryable=error.retryable,
        retry_after_ms=1000 if error.retryable else None,
    )
    return ErrorBody(error=detail).model_dump()
