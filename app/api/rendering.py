"""How does an answer become bytes?

orjson writes float32 arrays with the fewest digits that mean the same number, and straight from their memory.
"""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from app.serving.service import Result


class JsonResponse(Response):
    """JSON from plain values and numpy arrays; arrays must be C-contiguous."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The body."""
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def counts(result: Result) -> Mapping[str, object]:
    """What every task answers beside its own fields: tokens and cuts by text, and the sum."""
    items = [{"tokens": encoding.tokens, "truncated": encoding.truncated} for encoding in result.encodings]
    return {"items": items, "usage": {"tokens": result.tokens}}
