"""What does a route get from the request, besides its validated body?

The parts that `create_app` wired, the body within its limits, and a scope in which the caller's going away cancels
the work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import cast

from starlette.requests import Request

from app.api import density
from app.errors import BodyTooLargeError, UnsupportedMediaTypeError
from app.serving.catalog import Catalog
from app.serving.interrupt import Interruptible
from app.serving.service import Service
from app.settings import Settings
from app.telemetry.logging import RequestRecord
from app.types import Engine

# Keys of the scope.
PARTS = "encodery.parts"  # set by the middleware
RECORD = "encodery.record"  # set by the middleware
FIELDS = "encodery.fields"  # the header fields as `by_name` gives them, set by the middleware
ON_GONE = "encodery.on_gone"  # an extension of our server: takes what to call if the caller goes away, None for nothing

JSON = b"application/json"
MEDIA_TYPE_BYTES = 256  # a longer one is none, and the library that takes it apart is quadratic
LISTS = frozenset({b"accept", b"content-encoding", b"expect", b"transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Parts:
    """What routes work with; made once, in app/main.py."""

    settings: Settings
    engine: Engine
    catalog: Catalog
    service: Service


class ClientGoneError(Exception):
    """The caller closed the connection: there is nobody to answer."""


def parts(request: Request) -> Parts:
    """The wired parts."""
    return cast(Parts, request.scope[PARTS])


def record(request: Request) -> RequestRecord:
    """The log record of this request."""
    return cast(RequestRecord, request.scope[RECORD])


def fields(request: Request) -> Mapping[bytes, bytes]:
    """The header fields, names in small letters."""
    return cast(Mapping[bytes, bytes], request.scope[FIELDS])


def by_name(fields: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The values by name. Of equal names the last, but the lines of a list are one list (RFC 9110, section 5.3)."""
    named = dict(fields)
    if len(named) < len(fields):
        for name in LISTS & named.keys():
            named[name] = b", ".join(value for other, value in fields if other == name)
    return named


def principal(request: Request) -> str:
    """Who asks, as far as fairness goes."""
    return principal_of(request.scope.get("client"))


def principal_of(client: tuple[str, int] | None) -> str:
    """Who asks: the address at the other end. What a proxy says of others is not believed."""
    return client[0] if client is not None else ""


async def read_body(request: Request) -> bytes:
    """The whole body. Received bytes are counted: a Content-Length is only a promise.

    Raises:
        UnsupportedMediaTypeError: it is not plain JSON in UTF-8. BodyTooLargeError: it is over the limit.
        InvalidRequestError: it has more values than any request.
        ClientGoneError: the caller went away while sending.
    """
    _check_media_type(fields(request))
    limits = parts(request).settings.limits
    limit_bytes = limits.body_bytes
    announced = fields(request).get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > limit_bytes:
        raise too_large(limit_bytes)
    message = await request.receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False) and len(body) <= limit_bytes:  # never over our own server: it sends it whole
        message = await request.receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    if len(body) > limit_bytes:
        raise too_large(limit_bytes)
    density.check(body, limits.texts)
    return body


def cancelled_with_caller(request: Request) -> Interruptible:
    """Within it, the caller's going away cancels what runs and raises ClientGoneError, where the server can tell (ours
    can).
    """
    return Interruptible(ClientGoneError, register=request.scope.get(ON_GONE))


def too_large(limit_bytes: int) -> BodyTooLargeError:
    """The refusal of a body over the limit."""
    return BodyTooLargeError(f"the body is larger than {limit_bytes} bytes; send the texts in several requests")


def _check_media_type(fields: Mapping[bytes, bytes]) -> None:
    if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise UnsupportedMediaTypeError("compressed bodies are not read; leave out the header content-encoding")
    if (media_type := fields.get(b"content-type", b"")) == JSON:
        return  # what nearly everybody sends; taking a header apart costs 25 µs
    header = Message()
    header["content-type"] = media_type[:MEDIA_TYPE_BYTES].decode("latin-1")
    is_json = header.get_content_type() == "application/json"
    if not is_json or header.get_content_charset("utf-8") not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaTypeError(
            "the body must be JSON in UTF-8; send the header content-type: application/json"
        )
