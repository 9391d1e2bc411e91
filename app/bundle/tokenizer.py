"""How does the bundle's tokenizer load?

`tokenizer.json` must neither pad nor truncate by itself: both change answers silently (all-MiniLM-L6-v2's own file
cuts at 128 where the model takes 256). Cutting is done by `cutting`, on a copy that says where.
"""

from typing import Literal

from tokenizers import Tokenizer

from app.bundle.errors import BundleError

Side = Literal["end", "start"]  # which side of the text is cut away


def load_tokenizer(data: bytes) -> Tokenizer:
    """The tokenizer of `tokenizer.json`.

    Raises:
        BundleError: B08 when it does not load, pads or truncates.
    """
    try:
        tokenizer = Tokenizer.from_str(data.decode())
    except Exception as error:  # the library raises plain Exception
        raise BundleError("B08-tokenizer", f"tokenizer.json does not load: {error}") from error
    if tokenizer.padding is not None:
        raise BundleError("B08-tokenizer", "tokenizer.json pads by itself; remove `padding`")
    if tokenizer.truncation is not None:
        raise BundleError("B08-tokenizer", "tokenizer.json truncates by itself; remove `truncation`")
    return tokenizer


def cutting(tokenizer: Tokenizer, max_tokens: int, side: Side) -> Tokenizer:
    """A copy that cuts a text to `max_tokens`, special tokens kept, at its end or at its start."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.enable_truncation(max_tokens, direction="right" if side == "end" else "left")
    return copy
