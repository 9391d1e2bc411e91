"""What happens to every request, whatever route it takes?

It gets its ids, its answer carries them, it is counted and it leaves one log line – also if its path does not exist,
its route fails or its caller goes away. The outermost layer, plain ASGI. Hot routes are called from here; all others
go through FastAPI, whose ways cost some 100 µs.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.api.deps import FIELDS, PARTS, RECORD, ClientGoneError, Parts, by_name
from app.api.handlers import respond
from app.api.openapi import HotRoute
from app.telemetry import ids, logging, metrics
from app.types import Clock

CLIENT_GONE = 499  # nginx's number for a request whose caller left; seen in log and metrics only

Endpoint = Callable[[Request], Awaitable[Response]]


class Observed:
    """An application and what surrounds each of its requests: ids, translation of faults, metrics, log line."""

    def __init__(
        self, app: FastAPI, parts: Parts, hot: Mapping[str, Endpoint], *, clock: Clock = time.perf_counter
    ) -> None:
        self.app = app
        self.parts = parts
        self.hot = hot
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started_s = self._clock()
        scope[PARTS] = self.parts
        fields = scope[FIELDS] = by_name(scope["headers"])
        record = scope[RECORD] = begin(scope["method"], fields)
        try:
            await self._answer(scope, receive, _tagging(send, record))
        finally:
            record.status = record.status or CLIENT_GONE  # cancelled from outside: nothing was sent either
            if record.route == metrics.UNKNOWN:
                record.route = _template(scope)
            record.ms = (self._clock() - started_s) * 1000
            end(record)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: logging.RequestRecord = scope[RECORD]
        try:
            if scope["method"] == "POST" and (endpoint := self.hot.get(scope["path"])) is not None:
                record.route = scope["path"]
                response = await endpoint(Request(scope, receive))
                await response(scope, receive, send)
            else:
                await self.app(scope, receive, send)
        except ClientGoneError:
            metrics.cancelled_total.inc()
        except Exception as error:
            if record.error:  # FastAPI's outermost layer raises again what it has let `respond` answer
                return
            if record.status:  # the answer has begun: nothing can be said any more but by closing the connection
                raise
            await respond(Request(scope), error)(scope, receive, send)


def hot_routes(routers: Iterable[APIRouter]) -> dict[str, Endpoint]:
    """The endpoints of POST that are called without FastAPI, by path."""
    return {route.path: route.endpoint for router in routers for route in router.routes if isinstance(route, HotRoute)}


def begin(method: str, fields: Mapping[bytes, bytes]) -> logging.RequestRecord:
    """The record of a request, with the ids that its header fields bring."""
    return logging.RequestRecord(
        request_id=ids.accept_request_id(fields.get(b"x-request-id", b"").decode("latin-1")),
        trace=ids.accept_trace(fields.get(b"traceparent", b"").decode("latin-1")),
        method=method,
    )


def tags(record: logging.RequestRecord) -> list[tuple[bytes, bytes]]:
    """The fields that every answer carries."""
    return [(b"x-request-id", record.request_id.encode()), (b"traceparent", record.trace.header.encode())]


def end(record: logging.RequestRecord) -> None:
    """Count a request and write its line, now that its record is complete."""
    model = record.model or metrics.UNKNOWN
    metrics.child(metrics.requests_total, record.route, model, str(record.status)).inc()
    metrics.child(metrics.request_seconds, record.route).observe(record.ms / 1000)
    logging.write(record)


def _tagging(send: Send, record: logging.RequestRecord) -> Send:
    async def tagged(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *tags(record)]
        await send(message)

    return tagged


def _template(scope: Scope) -> str:
    """The route's template, so that paths made up by callers add no label."""
    if (route := scope.get("route")) is not None:
        return str(route.path)
    if "endpoint" in scope and not scope.get("path_params"):  # a plain Starlette route: its path is its template
        return str(scope["path"])
    return metrics.UNKNOWN
