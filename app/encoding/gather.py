"""How are many short texts tokenised for the price of few?

Requests of one text that come in within a turn of the event loop are tokenised together at its end. Each alone costs
about twice as much: the tokenizer's code and vocabulary are read into the core's caches anew between two requests
(docs/adr/0008-front-end.md). No request waits for another to come.
"""

import asyncio
from collections.abc import Sequence

from app.encoding.tokenizer import TextEncoder, Truncate
from app.types import Encoding

Waiting = tuple[Sequence[str], asyncio.Future[list[Encoding]]]


class Gatherer:
    """Tokenises on the event loop. For texts that are short together; long ones would hold up everybody."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[TextEncoder, Truncate], list[Waiting]] = {}

    async def encode(self, encoder: TextEncoder, texts: Sequence[str], truncate: Truncate) -> list[Encoding]:
        """See `TextEncoder.encode`."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._encode_all)
        future: asyncio.Future[list[Encoding]] = loop.create_future()
        self._waiting.setdefault((encoder, truncate), []).append((texts, future))
        return await future

    def _encode_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for (encoder, truncate), group in waiting.items():
            _encode_group(encoder, truncate, [each for each in group if not each[1].done()])  # done: cancelled


def _encode_group(encoder: TextEncoder, truncate: Truncate, group: Sequence[Waiting]) -> None:
    try:
        encodings = iter(encoder.encode([text for texts, _ in group for text in texts], truncate))
    except Exception:  # somebody's text is refused: each on its own finds out whose
        _encode_each(encoder, truncate, group)
        return
    for texts, future in group:
        future.set_result([next(encodings) for _ in texts])


def _encode_each(encoder: TextEncoder, truncate: Truncate, group: Sequence[Waiting]) -> None:
    for texts, future in group:
        try:
            future.set_result(encoder.encode(texts, truncate))
        except Exception as error:
            future.set_exception(error)
