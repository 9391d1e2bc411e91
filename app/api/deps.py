"""What does a route get from the request, besides its validated body?

The parts that `create_app` wired, the body within its limits, and a scope in which the caller's going away cancels
the work.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from typing import cast

from starlette.requests import ClientDisconnect, Request

from app.errors import BodyTooLargeError, UnsupportedMediaTypeError
from app.serving.catalog import Catalog
from app.serving.service import Service
from app.settings import Settings
from app.telemetry.logging import RequestRecord
from app.types import Engine

RECORD = "encodery.record"  # key of the scope; set by the middleware


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
    return cast(Parts, request.app.state.parts)


def record(request: Request) -> RequestRecord:
    """The log record of this request."""
    return cast(RequestRecord, request.scope[RECORD])


async def read_body(request: Request) -> bytes:
    """The whole body. Received bytes are counted: a Content-Length is only a promise.

    Raises:
        UnsupportedMediaTypeError: it is not plain JSON in UTF-8. BodyTooLargeError: it is over the limit.
        ClientGoneError: the caller went away while sending.
    """
    _check_media_type(request)
    limit_bytes = parts(request).settings.limits.body_bytes
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > limit_bytes:
        raise _too_large(limit_bytes)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit_bytes:
                raise _too_large(limit_bytes)
    except ClientDisconnect as error:
        raise ClientGoneError from error
    return bytes(body)


@asynccontextmanager
async def cancelled_with_caller(request: Request) -> AsyncIterator[None]:
    """Within it, the caller's going away cancels what runs. Enter it after the body was read.

    Raises:
        ClientGoneError: the caller went away.
    """
    task = asyncio.current_task()
    assert task is not None  # a coroutine always runs in a task
    is_gone = False

    async def watch() -> None:
        nonlocal is_gone
        while (await request.receive())["type"] != "http.disconnect":
            continue
        is_gone = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError as error:
        if not is_gone:
            raise
        task.uncancel()
        raise ClientGoneError from error
    finally:
        watcher.cancel()


def _check_media_type(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError("compressed bodies are not read; leave out the header content-encoding")
    if (media_type := request.headers.get("content-type", "")) == "application/json":
        return  # what nearly everybody sends; taking a header apart costs 25 µs
    header = Message()
    header["content-type"] = media_type
    is_json = header.get_content_type() == "application/json"
    if not is_json or header.get_content_charset("utf-8") not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaTypeError(
            "the body must be JSON in UTF-8; send the header content-type: application/json"
        )


def _too_large(limit_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is larger than {limit_bytes} bytes; send the texts in several requests")
