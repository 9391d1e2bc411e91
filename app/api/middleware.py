"""What happens to every request, whatever route it takes?

It gets its ids, its answer carries them, it is counted and it leaves one log line – also if its path does not exist,
its route fails or its caller goes away. The outermost layer of ours; plain ASGI, because Starlette's base class costs
a task and a queue a request.
"""

import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.deps import RECORD, ClientGoneError
from app.api.handlers import respond
from app.telemetry import ids, logging, metrics
from app.types import Clock

CLIENT_GONE = 499  # nginx's number for a request whose caller left; seen in log and metrics only


class Observed:
    """Wraps the application: ids, translation of faults, metrics, log line."""

    def __init__(self, app: ASGIApp, clock: Clock = time.perf_counter) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = self._clock()
        headers = Headers(scope=scope)
        record = logging.RequestRecord(
            request_id=ids.accept_request_id(headers.get("x-request-id")),
            trace=ids.accept_trace(headers.get("traceparent")),
            method=scope["method"],
        )
        scope[RECORD] = record
        try:
            await self._answer(scope, receive, _tagging(send, record))
        finally:
            record.status = record.status or CLIENT_GONE  # cancelled from outside: nothing was sent either
            record.route = _template(scope)
            record.ms = (self._clock() - started_s) * 1000
            _count(record)
            logging.write(record)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: logging.RequestRecord = scope[RECORD]
        try:
            await self._app(scope, receive, send)
        except ClientGoneError:
            metrics.cancelled_total.inc()
        except Exception as error:
            if record.status:  # the answer has begun: nothing can be said any more but by closing the connection
                raise
            await respond(Request(scope), error)(scope, receive, send)


def _tagging(send: Send, record: logging.RequestRecord) -> Send:
    async def tagged(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = record.request_id
            headers["traceparent"] = record.trace.header
        await send(message)

    return tagged


def _template(scope: Scope) -> str:
    """The route's template, so that paths made up by callers add no label."""
    if (route := scope.get("route")) is not None:
        return str(route.path)
    if "endpoint" in scope and not scope.get("path_params"):  # a plain Starlette route: its path is its template
        return str(scope["path"])
    return metrics.UNKNOWN


def _count(record: logging.RequestRecord) -> None:
    model = record.model or metrics.UNKNOWN
    metrics.requests_total.labels(record.route, model, str(record.status)).inc()
    metrics.request_seconds.labels(record.route).observe(record.ms / 1000)
