"""What does the service write down?

One line when a request ends, and a line for whatever else happens: JSON objects for collectors, short lines for
people. Requests refused under load share a line a second: writing one each would cost as much as the refusal itself.
A line never holds a text, a body or a header of a caller; the two ids that callers may send are taken only in their
documented form (app/telemetry/ids.py), and JSON escapes whatever could forge a line (CR, LF, ANSI).
"""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Literal

import orjson

from app.errors import OverloadedError
from app.telemetry.ids import Trace
from app.telemetry.stderr import LineWriter

PROBES = frozenset({"/live", "/ready", "/metrics"})  # asked every few seconds: their lines would drown the others

REQUESTS = "encodery.request"  # name of the logger, in the lines of requests

log = logging.getLogger(REQUESTS)


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

    def __str__(self) -> str:
        parts = [f"{self.method} {self.route} {self.status} {self.ms:.1f} ms"]
        if self.model:
            parts.append(f"{self.model}@{self.version}")
        if self.texts:
            parts.append(f"{self.texts} texts, {self.tokens} tokens")
        if self.error:
            parts.append(f"{self.error} {self.detail}".strip())
        return "  ".join(parts)


class Refused:
    """How many requests were refused under load since the last line about it."""

    def __init__(self) -> None:
        self._count = 0

    def add(self) -> None:
        """Count one."""
        self._count += 1

    def write(self) -> None:
        """Log the count, if there is one, and begin anew. The server calls this once a second."""
        if self._count:
            log.warning("refused %d requests: the predicted wait was over the limit", self._count)
            self._count = 0


refused = Refused()
# What gets the record of every request that ends. Not handlers of `logging`, which cost twice what the line does.
sinks: list[Callable[[RequestRecord], object]] = []


def configure(log_format: Literal["auto", "json", "text"]) -> None:
    """Send this process's log to standard error. `auto` is text where a person reads along, else JSON."""
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    render = _text_line if as_text else _json_line
    formatter = TextFormatter() if as_text else JsonFormatter()
    stream = LineWriter(sys.stderr.fileno(), partial(_loss, formatter))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    sinks[:] = [lambda record: stream.write(render(record))]


def write(record: RequestRecord) -> None:
    """Log one request: as an error if it is a fault of ours; probes that went well leave no line."""
    if record.error == OverloadedError.code:
        refused.add()
    elif record.status >= 400 or record.route not in PROBES:
        for sink in sinks:
            sink(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        line = _opening(record.created, record.levelno, record.name) | {"message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """A short line for a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")


def _json_line(record: RequestRecord) -> str:
    line = _opening(time.time(), _level(record), REQUESTS)
    line["method"], line["route"], line["status"] = record.method, record.route, record.status
    line["ms"] = round(record.ms, 3)
    line["request_id"], line["trace_id"] = record.request_id, record.trace.trace_id
    for name in ("model", "version", "texts", "tokens", "error", "detail"):
        if value := getattr(record, name):
            line[name] = value
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode()


def _text_line(record: RequestRecord) -> str:
    return f"{datetime.now():%H:%M:%S} {logging.getLevelName(_level(record)):7} {record}\n"


def _loss(formatter: logging.Formatter, lines: int) -> str:
    message = "%d lines of this log were lost: nobody read standard error"
    return formatter.format(log.makeRecord(__name__, logging.WARNING, "", 0, message, (lines,), None)) + "\n"


def _opening(unix_s: float, level: int, logger: str) -> dict[str, object]:
    now = f"{_second(int(unix_s))}.{int(unix_s % 1 * 1000):03d}+00:00"
    return {"time": now, "level": logging.getLevelName(level).lower(), "logger": logger}


@lru_cache(maxsize=2)
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _level(record: RequestRecord) -> int:
    return logging.ERROR if record.status >= 500 else logging.INFO
