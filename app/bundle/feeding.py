"""How do rows become the inputs of a graph?

Chosen once for a graph, by the names of its inputs: texts are ids and a mask, sequences of vectors are numbers and a
mask, single vectors are numbers alone. The gate feeds a graph through this as the service does. B rows, T tokens or
vectors of the longest row, F values of a vector.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.bundle.vectors import MASK_INPUT, VECTORS_INPUT
from app.types import Item

Feeds = dict[str, NDArray[Any]]
Feeder = Callable[..., Feeds]  # (rows, length=0): T is the longest row's, or `length` where that is more


def feeder(inputs: Sequence[str], pad_id: int) -> Feeder:
    """What makes the inputs of a graph whose inputs have these names."""
    if inputs[0] != VECTORS_INPUT:
        return partial(_texts, pad_id, "token_type_ids" in inputs)
    return _sequences if MASK_INPUT in inputs else _single_vectors


def _texts(pad_id: int, has_types: bool, rows: Sequence[Item], length: int = 0) -> Feeds:
    """int64 [B, T]; rows are padded on the right."""
    longest = max(length, *(len(row) for row in rows))
    ids_BT = np.full((len(rows), longest), pad_id, np.int64)
    mask_BT = np.zeros((len(rows), longest), np.int64)
    for index, row in enumerate(rows):
        ids_BT[index, : len(row)] = row
        mask_BT[index, : len(row)] = 1
    arrays = {"input_ids": ids_BT, MASK_INPUT: mask_BT}
    if has_types:
        arrays["token_type_ids"] = np.zeros_like(ids_BT)
    return arrays


def _sequences(rows: Sequence[Item], length: int = 0) -> Feeds:
    """float32 [B, T, F], zeros on the right, and the mask int64 [B, T]."""
    longest = max(length, *(len(row) for row in rows))
    values_BTF = np.zeros((len(rows), longest, rows[0].shape[1]), np.float32)
    mask_BT = np.zeros((len(rows), longest), np.int64)
    for index, row in enumerate(rows):
        values_BTF[index, : len(row)] = row
        mask_BT[index, : len(row)] = 1
    return {VECTORS_INPUT: values_BTF, MASK_INPUT: mask_BT}


def _single_vectors(rows: Sequence[Item], length: int = 0) -> Feeds:
    """float32 [B, F] of rows [1, F], which all have one length."""
    return {VECTORS_INPUT: np.concatenate(rows, dtype=np.float32)}
