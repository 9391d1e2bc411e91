"""Which ids does a request carry through the log?

A caller may send `x-request-id` and `traceparent` (W3C Trace Context, version 00). What has not exactly the
documented form is replaced by a fresh id, so that nobody writes into the log but us.
"""

import random
import re
from typing import NamedTuple

# Seeded by the system. Ids must differ and need not be secret; a system call for each would be 10 µs a request.
_random = random.Random()
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")  # all-zero ids are invalid


class Trace(NamedTuple):  # a tuple: one is made for every request
    """One hop of a distributed trace: the trace it belongs to, the span that is this request, and the flags."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def header(self) -> str:
        """The `traceparent` that names this request as the parent."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def accept_request_id(sent: str | None) -> str:
    """The caller's id if it has the documented form, else a new one."""
    return sent if sent is not None and _REQUEST_ID.fullmatch(sent) else _hex(128)


def accept_trace(sent: str | None) -> Trace:
    """A new span in the caller's trace, or in a new trace if `sent` is no valid traceparent."""
    match = _TRACEPARENT.fullmatch(sent or "")
    if match is None:
        both = _hex(192)
        return Trace(both[:32], both[32:], "00")
    return Trace(match[1], _hex(64), match[2])


def _hex(bits: int) -> str:
    return f"{_random.getrandbits(bits):0{bits // 4}x}"
