"""Is this body a request?

Bytes → one of the models of schemas.py in one step, pydantic's own JSON parser; only a body that it does not take is
read again by orjson, which is stricter and says where, and explained: an error says what to change and never repeats
what was sent, and fields are named only if they are ours. NaN, lone surrogates, wrong UTF-8 and over-deep nesting are
no JSON (RFC 8259).
"""

import difflib
from collections.abc import Mapping
from typing import TypeVar

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.api.schemas import TextRequest
from app.errors import ApiError, InvalidJsonError, InvalidRequestError, UnsupportedOptionError

RequestT = TypeVar("RequestT", bound=TextRequest)

# The field of a problem that is one of the whole body.
PARAMS = {"text_or_texts": "texts", "texts_empty": "texts", "vectors_empty": "vectors"}
# What other services call the same thing.
SYNONYMS = {
    "encoding_format": "format",
    "input": "texts",
    "inputs": "texts",
    "model_name": "model",
    "sentences": "texts",
    "timeout": "timeout_ms",
    "top_n": "top_k",
}


def parse(body: bytes, shape: type[RequestT]) -> RequestT:
    """The request in `body`.

    Raises:
        InvalidJsonError, InvalidRequestError, UnsupportedOptionError: with the field and the offending text.
    """
    try:
        return shape.model_validate_json(body)
    except ValidationError:
        return _parse_carefully(body, shape)


def _parse_carefully(body: bytes, shape: type[RequestT]) -> RequestT:
    """The same in two steps, for a body that has something to be explained."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # The parser's message names the place and the kind of problem and quotes nothing.
        raise InvalidJsonError(f"the body is not JSON: {error}") from None
    if isinstance(value, dict):
        _refuse_unbuilt(value, shape)
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise _explain(problem, shape) from None


def _refuse_unbuilt(value: Mapping[str, object], shape: type[TextRequest]) -> None:
    for option, values in shape.unbuilt.items():
        if values is None and option in value:
            raise UnsupportedOptionError(f"`{option}` is not available in this version; leave it out", param=option)
        for unbuilt in values or ():
            if value.get(option) == unbuilt:
                message = f'"{option}": "{unbuilt}" is not available in this version; choose another or leave it out'
                raise UnsupportedOptionError(message, param=option)


def _explain(problem: ErrorDetails, shape: type[TextRequest]) -> ApiError:
    location, kind = problem["loc"], problem["type"]
    if kind == "extra_forbidden":
        return InvalidRequestError(f"the body has a field that is not known; {_hint(str(location[-1]), shape)}")
    if not location:
        message = "the body is not a JSON object" if kind == "model_type" else problem["msg"]
        return InvalidRequestError(message, param=PARAMS.get(kind))
    index = next((part for part in location if isinstance(part, int)), None)
    param = f"{location[0]}[{index}]" if index is not None else str(location[0])
    return InvalidRequestError(f"`{param}` {_rule(problem['msg'])}", param=param, index=index)


def _hint(name: str, shape: type[TextRequest]) -> str:
    known = sorted(shape.model_fields)
    if (synonym := SYNONYMS.get(name)) in shape.model_fields:
        return f"the nearest known one is `{synonym}`"
    if close := difflib.get_close_matches(name[:64], known, n=1):
        return f"the nearest known one is `{close[0]}`"
    return f"known are {', '.join(f'`{field}`' for field in known)}"


def _rule(message: str) -> str:
    """Pydantic's message as the end of a sentence that begins with the field."""
    return message.replace("Input should", "must", 1) if message.startswith("Input should") else f"is wrong: {message}"
