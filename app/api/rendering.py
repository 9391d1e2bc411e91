"""How does an answer become bytes?

orjson writes float32 arrays with the fewest digits that mean the same number, and straight from their memory. It keeps
the interpreter to itself while it writes, so a thread would free nobody: what is long is written in slices instead,
with a turn of the event loop between them.
"""

import asyncio
from collections.abc import Callable, Mapping

import orjson
from starlette.responses import Response

from app.serving.service import Result
from app.types import Rows

OCTETS = b"application/octet-stream"
ACCEPTED = frozenset({OCTETS, b"application/json", b"application/*", b"*/*"})
SLICE_ROWS = 64  # of 384 values: 0.55 ms to scale and write

Fields = list[tuple[bytes, bytes]]


class Answer(Response):
    """A whole answer whose fields are ready; what Starlette's constructor does beyond that is 5 µs of every request."""

    def __init__(self, body: bytes, media_type: bytes, *, status: int = 200, fields: Fields | None = None) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), *(fields or ())]


def json_bytes(content: object) -> bytes:
    """JSON from plain values and numpy arrays; arrays must be C-contiguous."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def json_answer(content: object, *, status: int = 200, fields: Fields | None = None) -> Answer:
    """An answer in JSON."""
    return Answer(json_bytes(content), b"application/json", status=status, fields=fields)


async def json_list(rows: Rows, render: Callable[[Rows], object]) -> object:
    """A list of what `render` makes of each row, for `json_answer` to take in."""
    if len(rows) <= SLICE_ROWS:
        return render(rows)
    parts = []
    for start in range(0, len(rows), SLICE_ROWS):
        parts.append(json_bytes(render(rows[start : start + SLICE_ROWS]))[1:-1])  # without the brackets of a list
        await asyncio.sleep(0)
    return orjson.Fragment(b"[%s]" % b",".join(parts))


def counts(result: Result) -> Mapping[str, object]:
    """What every task answers beside its own fields: tokens and cuts by text, and the sum."""
    items = [{"tokens": encoding.tokens, "truncated": encoding.truncated} for encoding in result.encodings]
    return {"items": items, "usage": {"tokens": result.tokens}}


def wants_bytes(accept: bytes) -> bool:
    """Whether an Accept header prefers raw bytes to JSON: by its weights, then by its order (RFC 9110, 12.5.1)."""
    accept = accept.lower()
    if OCTETS not in accept:
        return False
    ranges = [_weighed(part) for part in accept.split(b",")]
    best = max((weight for _, weight in ranges), default=0.0)
    known = [name for name, weight in ranges if weight == best > 0 and name in ACCEPTED]
    return known[:1] == [OCTETS]


def _weighed(media_range: bytes) -> tuple[bytes, float]:
    name, *parameters = (part.strip() for part in media_range.split(b";"))
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return name, float(parameter[2:])
            except ValueError:
                return name, 0.0
    return name, 1.0
