"""How does an error become an answer?

One translator for every route and every failure – a wrong path, a body that is no JSON, an overloaded engine, a fault
of ours – into one envelope, `{"error": {...}}`. Nothing of the caller's input and nothing of our insides goes into it;
the log has the type of what went wrong under the request id.
"""

import logging
import traceback

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.api.deps import record
from app.api.rendering import Answer, Fields, json_answer
from app.errors import (
    ApiError,
    BodyTooLargeError,
    HeadTooLargeError,
    InternalError,
    InvalidHttpError,
    InvalidRequestError,
    MethodNotAllowedError,
    RequestTimeoutError,
)
from app.errors import NotFoundError as PathNotFoundError

log = logging.getLogger(__name__)

MS_PER_S = 1000
ENDING = (
    BodyTooLargeError,
    HeadTooLargeError,
    InvalidHttpError,
    RequestTimeoutError,
)  # the connection is of no more use


def respond(request: Request, error: Exception) -> Answer:
    """The answer to a request that ended with `error`; notes it in the request's log record."""
    known = translate(error)
    entry = record(request)
    entry.error = known.code
    if known.type == "server_error":
        entry.detail = " < ".join(_chain(error))
    if isinstance(known, InternalError):
        frames = "".join(traceback.format_tb(error.__traceback__))
        log.error("request %s failed: %s\n%s", entry.request_id, entry.detail, frames)
    answer = answer_to(known, entry.request_id)
    if isinstance(error, HTTPException):
        # `Allow`, of a 405
        answer.raw_headers += [(name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items()]
    return answer


def answer_to(error: ApiError, request_id: str) -> Answer:
    """The whole answer that says `error`."""
    return json_answer(envelope(error, request_id), status=error.status, fields=_fields(error))


def translate(error: Exception) -> ApiError:
    """The error of the closed table that says what happened."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException):
        return _of_framework(error)
    if isinstance(error, RequestValidationError):
        return InvalidRequestError("a parameter of the path or the query is missing or wrong")
    return InternalError("a fault of the service; it is logged under the request id")


def envelope(error: ApiError, request_id: str) -> dict[str, object]:
    """The body of every error."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "index": error.index,
            "request_id": request_id,
            "retryable": error.retryable,
            "retry_after_ms": error.retry_after_ms,
        }
    }


def _of_framework(error: HTTPException) -> ApiError:
    if error.status_code == PathNotFoundError.status:
        return PathNotFoundError("no such path; GET /docs lists what there is")
    if error.status_code == MethodNotAllowedError.status:
        return MethodNotAllowedError("this path exists, but not for this method; the header allow has those it takes")
    if error.status_code == BodyTooLargeError.status:
        return BodyTooLargeError("the body is too large")
    if error.status_code < InternalError.status:
        return InvalidRequestError("the request cannot be read")
    return InternalError("a fault of the service; it is logged under the request id")


def _fields(error: ApiError) -> Fields:
    if error.retry_after_ms is not None:
        # The standard header knows whole seconds only, and 0 would mean "at once".
        seconds = max(1, -(-error.retry_after_ms // MS_PER_S))
        return [(b"retry-after", b"%d" % seconds), (b"retry-after-ms", b"%d" % error.retry_after_ms)]
    if isinstance(error, ENDING):
        return [(b"connection", b"close")]  # what follows on this connection is not read
    return []


def _chain(error: BaseException | None) -> list[str]:
    """The types of an exception and its causes. Messages stay out: they may hold a text."""
    names: list[str] = []
    while error is not None and len(names) < 5:
        names.append(type(error).__name__)
        error = error.__cause__ or error.__context__
    return names
