"""What does the service write down?

One line when a request ends, and a line for whatever else happens: JSON objects for collectors, short lines for
people. A line never holds a text, a body or a header of a caller; the two ids that callers may send are taken only in
their documented form (app/telemetry/ids.py), and JSON escapes whatever could forge a line (CR, LF, ANSI).
"""

import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import orjson

from app.telemetry.ids import Trace

PROBES = frozenset({"/live", "/ready", "/metrics"})  # asked every few seconds: their lines would drown the others

requests = logging.getLogger("encodery.request")


@dataclass(slots=True)
class RequestRecord:
    """What is known of one request; filled in on its way, written once at its end."""

    request_id: str
    trace: Trace
    method: str
    route: str = "unknown"
    status: int = 0
    ms: float = 0.0
    model: str = ""
    version: int = 0
    texts: int = 0
    tokens: int = 0
    error: str = ""  # a code of the closed table
    detail: str = ""  # for whoever reads the log: the types of the exceptions behind an error, never their messages


def configure(log_format: Literal["auto", "json", "text"]) -> None:
    """Send this process's log to standard error. `auto` is text where a person reads along, else JSON."""
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


def write(record: RequestRecord) -> None:
    """Log one request: as an error if it is a fault of ours; probes that went well only at debug level."""
    level = logging.ERROR if record.status >= 500 else logging.INFO
    if record.route in PROBES and record.status < 400:
        level = logging.DEBUG
    if requests.isEnabledFor(level):
        requests.log(level, "%s", _summary(record), extra={"request": record})


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a request's fields stand in it one by one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"time": time, "level": record.levelname.lower(), "logger": record.name}
        request = getattr(record, "request", None)
        line |= _fields(request) if isinstance(request, RequestRecord) else {"message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """A short line for a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")


def _fields(record: RequestRecord) -> dict[str, object]:
    fields: dict[str, object] = {
        "method": record.method,
        "route": record.route,
        "status": record.status,
        "ms": round(record.ms, 3),
        "request_id": record.request_id,
        "trace_id": record.trace.trace_id,
    }
    optional = {name: getattr(record, name) for name in ("model", "version", "texts", "tokens", "error", "detail")}
    return fields | {name: value for name, value in optional.items() if value}


def _summary(record: RequestRecord) -> str:
    parts = [f"{record.method} {record.route} {record.status} {record.ms:.1f} ms"]
    if record.model:
        parts.append(f"{record.model}@{record.version}")
    if record.texts:
        parts.append(f"{record.texts} texts, {record.tokens} tokens")
    if record.error:
        parts.append(f"{record.error} {record.detail}".strip())
    return "  ".join(parts)
