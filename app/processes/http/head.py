"""May this head be taken, and how is the head of an answer written?

llhttp refuses most of what could be read in two ways (two lengths, a length beside chunks, folded fields, bare line
feeds: docs/adr/0008-front-end.md); what it lets through is refused here.
"""

import http
from collections.abc import Sequence
from urllib.parse import unquote

import httptools

from app.api.deps import by_name
from app.errors import HeadTooLargeError, InvalidHttpError
from app.settings import HttpSettings

Fields = Sequence[tuple[bytes, bytes]]

LENGTH_DIGITS = 20  # more than any length that is read needs; Python reads no number of 4,300

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}


def check(url: bytes, fields: Fields, version: str, limits: HttpSettings, *, seen_bytes: int) -> dict[bytes, bytes]:
    """The fields by name, as `by_name` says. `seen_bytes`: the head is not longer than that.

    Raises:
        HeadTooLargeError, InvalidHttpError: it is refused.
    """
    if len(fields) > limits.head_fields:
        raise too_large(limits)
    if seen_bytes > limits.head_bytes and size(url, fields) > limits.head_bytes:
        raise too_large(limits)
    named = by_name(fields)
    if version not in {"1.1", "1.0"}:
        raise InvalidHttpError("the service speaks HTTP/1.1")
    if version == "1.1" and b"host" not in named:
        raise InvalidHttpError("the request has no header host (RFC 9112, section 3.2)")
    if len(named) < len(fields) and sum(name == b"host" for name, _ in fields) > 1:
        raise InvalidHttpError("the request has several headers host (RFC 9112, section 3.2)")
    if named.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
        raise InvalidHttpError("of transfer codings the service reads chunked alone")
    if len(named.get(b"content-length", b"")) > LENGTH_DIGITS:
        raise InvalidHttpError("the header content-length is no length that a body can have")
    return named


def target(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, the path as it was sent, and query of a request's target.

    Raises:
        InvalidHttpError: it is none.
    """
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError as error:
        raise InvalidHttpError("the target of the request is no path") from error
    raw_path: bytes = parsed.path or b"/"
    path = raw_path.decode("ascii")
    if "%" in path:
        path = unquote(path)
        if not path.isprintable():  # a route's pattern would take a line feed at the end for nothing
            raise InvalidHttpError("the target of the request is no path")
    return path, raw_path, parsed.query or b""


def too_large(limits: HttpSettings) -> HeadTooLargeError:
    """The refusal of a head over a limit."""
    return HeadTooLargeError(
        f"the request line and headers are over {limits.head_bytes} bytes or {limits.head_fields} fields; send fewer"
    )


def size(url: bytes, fields: Fields) -> int:
    """Bytes of a head on the wire, but for the method and version."""
    return len(url) + sum(len(name) + len(value) + 4 for name, value in fields)


def write(status: int, fields: Fields, *, close: bool) -> bytes:
    """The head of an answer.

    Raises:
        ValueError: a field holds a line break, which would begin another.
    """
    lines = [STATUS_LINES[status]]
    for name, value in fields:
        if name == b"connection":
            close = False  # it says so itself
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    head = b"".join(lines)
    breaks = 2 + len(fields) + close
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks:
        raise ValueError("a header field of the answer holds a line break")
    return head
