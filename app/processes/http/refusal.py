"""How is a request answered that the application never sees?

In the envelope of every other error, with its ids, counted and logged like every other request: what differs is the
price, some 50 µs.
"""

from collections.abc import Sequence

from app.api import middleware
from app.api.handlers import answer_to
from app.errors import ApiError
from app.processes.http import head
from app.processes.http.reading import Reader, Rules


class Refusal:
    """The end of the request that stands in a reader, whole or not."""

    def __init__(self, rules: Rules, reader: Reader) -> None:
        self._clock = rules.clock
        self._begun_s = reader.begun_s
        self._record = middleware.begin(reader.method, reader.named or dict(reader.fields))
        if reader.url in rules.gated:
            self._record.route = reader.url.decode()

    def write(self, error: ApiError, fields: Sequence[tuple[bytes, bytes]], *, stays: bool) -> bytes:
        """The whole answer; `fields` are the server's own. The request is counted and logged."""
        answer = answer_to(error, self._record.request_id)
        every = [*fields, *answer.raw_headers, *middleware.tags(self._record)]
        self._record.error = error.code
        self.end(error.status)
        return head.write(error.status, every, close=not stays) + bytes(answer.body)

    def end(self, status: int) -> None:
        """Count and log the request; for `write`, and for one that nobody is there to be answered."""
        self._record.status = status
        self._record.ms = 1000 * (self._clock() - self._begun_s)
        middleware.end(self._record)
