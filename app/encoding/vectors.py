"""How do the numbers of a request become the rows that a model reads?

The one place of the service that cuts sequences of vectors, as `tokenizer.py` is that of texts.
"""

from collections.abc import Sequence

from app.bundle.vectors import VectorError, VectorInput
from app.encoding.tokenizer import Truncate
from app.errors import InvalidRequestError, TextTooLongError
from app.types import Encoding


class VectorReader:
    """The rows of one bundle: vectors of its width, at most `max_tokens` of them in a sequence."""

    def __init__(self, like: VectorInput, *, max_tokens: int) -> None:
        self.like = like
        self.max_tokens = max_tokens

    def encode(self, rows: Sequence[object], truncate: Truncate, *, first: int = 0) -> list[Encoding]:
        """Each row as float32 [T, F]. `first` is the number of the first row, for errors.

        Raises:
            InvalidRequestError: a row (`index`) is none for this model.
            TextTooLongError: `truncate` is "error" and a row has more vectors than the model takes.
        """
        return [self._encode(row, truncate, index) for index, row in enumerate(rows, first)]

    def estimate_tokens(self, rows: Sequence[object]) -> int:
        """About how many vectors the model will read: no row is looked into yet."""
        if not self.like.is_sequence:
            return len(rows)
        return sum(min(len(row), self.max_tokens) if isinstance(row, list) else 1 for row in rows)

    def _encode(self, row: object, truncate: Truncate, index: int) -> Encoding:
        param = f"vectors[{index}]"
        try:
            values_TF = self.like.read(row)
        except VectorError as error:
            raise InvalidRequestError(f"`{param}` {error}", param=param, index=index) from error
        if (found := len(values_TF)) <= self.max_tokens:
            return Encoding(values_TF, truncated=False)
        if truncate == "error":
            raise TextTooLongError(
                f'`{param}` has {found} vectors; this model takes {self.max_tokens}; send "truncate": "end"',
                param=param,
                index=index,
            )
        part_TF = values_TF[: self.max_tokens] if truncate == "end" else values_TF[-self.max_tokens :]
        return Encoding(part_TF, truncated=True)
