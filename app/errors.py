"""Which errors can a caller see?

One class per thing a caller can act on. `code` comes from this closed table (docs/errors.md is generated
from it); the message names what is wrong, the value, the limit and the way out, and never echoes the input.
Errors are raised where they are known and translated once, in `app/api/handlers.py`.
"""

from typing import ClassVar, Literal

ErrorType = Literal["invalid_request_error", "overloaded_error", "server_error"]


class ApiError(Exception):
    """An error with a place in the closed table.

    Args:
        message: what is wrong, where, and the way out, for a person.
        param: the field of the request it is about, in JSON path form (`texts`, `pairs[3].text`).
        index: the offending text of the request, counted from 0.
        retry_after_ms: when a repeat may succeed; only for retryable errors.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    type: ClassVar[ErrorType] = "invalid_request_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, param: str | None = None, index: int | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.index = index
        self.retry_after_ms = retry_after_ms


class InvalidJsonError(ApiError):
    """The body is not JSON: a syntax error, wrong UTF-8, or half of a surrogate pair."""

    code, status = "invalid_json", 400


class InvalidHttpError(ApiError):
    """The bytes are no HTTP/1.1, or two readers could read them in two ways. The connection is closed."""

    code, status = "invalid_http", 400


class NotFoundError(ApiError):
    """No such path."""

    code, status = "not_found", 404


class ModelNotFoundError(ApiError):
    """No served model has this name or version."""

    code, status = "model_not_found", 404


class MethodNotAllowedError(ApiError):
    """The path exists, the method does not."""

    code, status = "method_not_allowed", 405


class RequestTimeoutError(ApiError):
    """The head or the body of the request took too long to arrive. The connection is closed."""

    code, status, retryable = "request_timeout", 408, True


class BodyTooLargeError(ApiError):
    """The body has more bytes than the service reads."""

    code, status = "body_too_large", 413


class UnsupportedMediaTypeError(ApiError):
    """The body is not `application/json`, or is compressed."""

    code, status = "unsupported_media_type", 415


class InvalidRequestError(ApiError):
    """A field is missing, unknown, of the wrong type or out of range."""

    code, status = "invalid_request", 422


class UnsupportedOptionError(ApiError):
    """An option this version, or this bundle, cannot do. Refused by name, never ignored."""

    code, status = "unsupported_option", 422


class HeadError(ApiError):
    """The model has no such head, or several and none was named."""

    code, status = "invalid_head", 422


class TextTooLongError(ApiError):
    """A text has more tokens, or a row more vectors, than the model takes, and `truncate` is "error"."""

    code, status = "text_too_long", 422


class RequestTooLargeError(ApiError):
    """More texts, vectors or tokens than one request may hold."""

    code, status = "request_too_large", 422


class OverloadedError(ApiError):
    """The predicted wait is over the limit; nothing was started."""

    code, status, type, retryable = "overloaded", 429, "overloaded_error", True


class HeadTooLargeError(ApiError):
    """The request line and the header fields have more bytes, or more fields, than the service reads."""

    code, status = "head_too_large", 431


class InternalError(ApiError):
    """A fault of ours. The log has the detail under the request id."""

    code, status, type = "internal_error", 500, "server_error"


class EngineFailedError(ApiError):
    """The engine could not run this input, or died twice while it held it. One repeat helps if the machine was at
    fault, and never if the input is: where it fails again, leave out the text at `index`, or the request.
    """

    code, status, type, retryable = "engine_failed", 503, "server_error", True


class NotReadyError(ApiError):
    """No engine is connected, or the service is draining."""

    code, status, type, retryable = "not_ready", 503, "server_error", True


class DeadlineExceededError(ApiError):
    """The deadline passed before the answer was there; the work was dropped."""

    code, status, type, retryable = "deadline_exceeded", 504, "server_error", True


def table() -> list[type[ApiError]]:
    """Every error class, in order of status and code."""
    return sorted(ApiError.__subclasses__(), key=lambda error: (error.status, error.code))
