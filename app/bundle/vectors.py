"""What are the rows of a model that reads numbers?

A row is one vector, or a sequence of vectors, all of one width. It goes to the graph as it came, in float32: the graph
itself subtracts the mean of the training rows and divides by their standard deviation. T vectors of a row, F values of
a vector.
"""

from typing import Annotated, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

VECTORS_INPUT: Final = "vectors"
MASK_INPUT: Final = "attention_mask"  # 1 for a vector of the row, 0 for padding; sequences only

Floats = NDArray[np.float32]
Number = Annotated[float, Field(allow_inf_nan=False)]
Axes = list[str | int]
NUMBERS = frozenset({int, float})  # not bool, which is an int to Python


class VectorError(ValueError):
    """Numbers that are no row for a model; the message is the end of a sentence that begins with their place."""


class VectorInput(BaseModel):
    """What a model reads: `width` values of a vector, and whether a row is one vector or a sequence of them.

    `mean` and `std` are those of each value over the training rows, as the graph holds them; where all rows had the
    same value, `std` is 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # as everything in a manifest

    width: int = Field(ge=1)
    is_sequence: bool
    mean: list[Number]
    std: list[Annotated[Number, Field(gt=0)]]

    @model_validator(mode="after")
    def _one_of_each_value(self) -> Self:
        if not len(self.mean) == len(self.std) == self.width:
            raise ValueError(f"vectors of {self.width} values have as many in `mean` and in `std`")
        return self

    @property
    def inputs(self) -> list[tuple[str, Literal["float32", "int64"], Axes]]:
        """Name, type and axes of each input of the graph."""
        if not self.is_sequence:
            return [(VECTORS_INPUT, "float32", ["batch", self.width])]
        return [
            (VECTORS_INPUT, "float32", ["batch", "tokens", self.width]),
            (MASK_INPUT, "int64", ["batch", "tokens"]),
        ]

    def read(self, values: object) -> Floats:
        """A row [T, F] of the numbers of a request, a file or a golden row; T is 1 where a row is one vector.

        Raises:
            VectorError: it has another form or width, no vectors, or a number that float32 does not hold.
        """
        row = as_floats(values)
        if row.ndim != (2 if self.is_sequence else 1):
            forms = ("one vector, a list of numbers", "a sequence of vectors, a list of lists of numbers")
            raise VectorError(f"is {forms[row.ndim - 1]}; this model takes {forms[self.is_sequence]}")
        if row.shape[-1] != self.width:
            raise VectorError(f"has vectors of {row.shape[-1]} values; this model takes {self.width}")
        return row.reshape(-1, self.width)


def as_floats(values: object) -> Floats:
    """`values` as [F] or [T, F], finite float32.

    Raises:
        VectorError: they are not numbers in one of these forms.
    """
    if not isinstance(values, list):
        raise VectorError("is not a list of numbers, or of lists of numbers")
    if not values:
        raise VectorError("is empty; a row has at least one number")
    _check_numbers(values)
    try:
        with np.errstate(over="ignore"):
            row = np.array(values, np.float32)
    except OverflowError as error:
        raise VectorError("has a number too large for float32") from error
    if not np.isfinite(row).all():
        place = np.argwhere(~np.isfinite(row))[0].tolist()
        raise VectorError(f"has at {place} what is not finite, or too large for float32")
    return row


def _check_numbers(values: list[object]) -> None:
    """All are numbers, or all are lists of as many numbers: numpy would also take "1", true and null."""
    if not isinstance(values[0], list):
        _refuse(values, "")
        return
    width = len(values[0])
    for place, vector in enumerate(values):
        if not isinstance(vector, list) or len(vector) != width:
            found = f"{len(vector)} values" if isinstance(vector, list) else "no list"
            raise VectorError(f"is ragged: the vector at [{place}] has {found}, the first has {width} values")
        if not vector:
            raise VectorError(f"has an empty vector at [{place}]")
        _refuse(vector, f"{place}, ")


def _refuse(vector: list[object], before: str) -> None:
    if set(map(type, vector)) <= NUMBERS:
        return
    place = next(place for place, value in enumerate(vector) if type(value) not in NUMBERS)
    raise VectorError(f"has at [{before}{place}] what is not a number")
