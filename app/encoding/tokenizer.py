"""How does a text become the tokens that a model reads?

The one place of the service that cuts texts. `error` refuses an over-long text with its exact token count, `end` and
`start` say which side of it is cut away. One text is never read as a pair, and `""` is a text: its special tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from tokenizers import Encoding as RawEncoding
from tokenizers import Tokenizer

from app.bundle.tokenizer import cutting
from app.errors import InvalidJsonError, TextTooLongError
from app.types import Encoding

Truncate = Literal["error", "end", "start"]

BYTES_PER_TOKEN = 4  # UTF-8, English; other scripts have more bytes a letter and more tokens a letter alike
SPECIAL_TOKENS = 2  # [CLS] and [SEP] of the BERT family


class TextEncoder:
    """The tokenizer of one bundle, for texts of at most `max_tokens` tokens. Safe to call from several threads."""

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._by_mode: dict[Truncate, Tokenizer] = {
            "error": tokenizer,
            "end": cutting(tokenizer, max_tokens, "end"),
            "start": cutting(tokenizer, max_tokens, "start"),
        }

    def encode(self, texts: Sequence[str], truncate: Truncate, *, first: int = 0) -> list[Encoding]:
        """Each text as token ids, at most `max_tokens` of them. `first` is the number of the first text, for errors.

        Raises:
            TextTooLongError: `truncate` is "error" and a text (`index`) has more tokens than the model takes.
            InvalidJsonError: a text is not Unicode (it holds half of a surrogate pair).
        """
        raw = _encode_batch(self._by_mode[truncate], texts, first)
        encodings = [Encoding(np.array(one.ids, np.int32), truncated=bool(one.overflowing)) for one in raw]
        for index, encoding in enumerate(encodings, first):
            if encoding.tokens > self.max_tokens:
                raise TextTooLongError(
                    f"text {index} has {encoding.tokens} tokens; this model takes {self.max_tokens}; "
                    'send "truncate": "end"',
                    param=f"texts[{index}]",
                    index=index,
                )
        return encodings

    def estimate_tokens(self, texts: Sequence[str]) -> int:
        """About how many tokens the model will read, from the number of bytes alone."""
        return sum(min(SPECIAL_TOKENS + size_bytes(text) // BYTES_PER_TOKEN, self.max_tokens) for text in texts)


def size_bytes(text: str) -> int:
    """The length of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def parts(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The texts in order, cut between two of them where a part would be over `size` bytes."""
    start, filled = 0, 0
    for end, text in enumerate(texts):
        own = size_bytes(text)
        if filled + own > size and end > start:
            yield texts[start:end]
            start, filled = end, 0
        filled += own
    yield texts[start:]


def _encode_batch(tokenizer: Tokenizer, texts: Sequence[str], first: int) -> list[RawEncoding]:
    # The fast variant leaves out character offsets, which nobody here reads. Lone surrogates are refused when the
    # body is parsed; this guard is for callers within the program.
    encode: Callable[[list[str]], list[RawEncoding]] = tokenizer.encode_batch_fast
    try:
        return encode(list(texts))
    except TypeError as error:
        index = next((i for i, text in enumerate(texts, first) if not _is_unicode(text)), None)
        if index is None:
            raise
        message = f"text {index} holds half of a surrogate pair, which is no Unicode; send whole characters"
        raise InvalidJsonError(message, param=f"texts[{index}]", index=index) from error


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
