"""How do rows of token ids become the inputs of a packed graph?

Rows stand one after the other. A graph that was captured or warmed has a fixed `Shape`, so there is room behind the
last row: it is covered by dummy sequences of padding, since tokens outside every sequence would come out of attention
as whatever was in memory, NaN among it. Sequences that are still missing are empty ones at the end. Pure numpy; the
gate of `training` and the service pack with this same function.

T tokens with the tail, B sequences with dummies and empty ones, S longest length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.bundle.packed import DISTANCE, PackedSpec
from app.types import Item

Ints = NDArray[np.int32]

ALIGN = 64  # int32 values, 256 bytes: where CUDA's own allocations begin, so that no kernel sees an odd address


@dataclass(frozen=True, slots=True, order=True)
class Shape:
    """T, B and S of one run."""

    tokens: int
    sequences: int
    longest: int

    @property
    def slots(self) -> int:
        """B × S: what attention with packed QKV reserves scratch for, 6 × hidden bytes each in fp16."""
        return self.sequences * self.longest

    def holds(self, tokens: int, rows: int, longest: int) -> bool:
        """Whether a batch fits, the dummy sequences of its tail included."""
        tail = self.tokens - tokens
        return tail >= 0 and longest <= self.longest and rows + dummies(tail, self.longest) <= self.sequences


@dataclass(frozen=True, slots=True)
class Packed:
    """One batch: `buffer` holds what is copied to the device at once, `offsets` where each input begins in it."""

    shape: Shape
    buffer: Ints
    offsets: Mapping[str, int]
    rows: int  # of the callers; the first ones of every output

    def view(self, name: str) -> Ints:
        """One input inside the buffer."""
        return self.buffer[self.offsets[name] :][: _sizes(self.shape)[name]]


def dummies(tail: int, longest: int) -> int:
    """How many sequences of at most `longest` tokens cover a tail."""
    return -(-tail // longest)


def offsets(shape: Shape) -> tuple[dict[str, int], int]:
    """Where each input of a run begins in its buffer, and the length of the buffer; both count int32 values.

    The length is a power of two, so that a few buffers on the device serve every shape.
    """
    found, end = {}, 0
    for name, size in _sizes(shape).items():
        found[name] = end
        end += -(-size // ALIGN) * ALIGN
    return found, 1 << (end - 1).bit_length()


def pack(rows: Sequence[Item], shape: Shape, spec: PackedSpec) -> Packed:
    """A batch as the graph takes it, row i as sequence i.

    Raises:
        ValueError: a row without tokens, an id that the model has no row for, or rows that do not fit into `shape`.
    """
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    total = int(lengths.sum())
    if not len(rows) or not lengths.all():
        raise ValueError("a packed batch needs rows, and each row a token")
    if lengths.max() > spec.max_tokens:
        raise ValueError(f"a row has {lengths.max()} tokens; the graph takes {spec.max_tokens}")
    if not shape.holds(total, len(rows), int(lengths.max())):
        raise ValueError(f"{len(rows)} rows of {total} tokens, the longest {lengths.max()}, do not fit into {shape}")
    starts, size = offsets(shape)
    batch = Packed(shape, np.zeros(size, np.int32), starts, len(rows))
    ids_T = batch.view("input_ids")
    np.concatenate(rows, out=ids_T[:total])
    ids_T[total:] = spec.pad_id
    if not 0 <= ids_T.min() <= ids_T.max() < spec.vocabulary:  # on a device it would be an illegal access, and its end
        raise ValueError(f"ids go from {ids_T.min()} to {ids_T.max()}; the model knows 0 to {spec.vocabulary - 1}")
    bounds = batch.view("cu_seqlens")
    _bound(bounds, lengths, total, shape)
    _count(batch.view("position_ids"), ids_T[:total], bounds[: len(rows)], lengths, spec)
    np.minimum(
        bounds[:-1], shape.tokens - 1, out=batch.view("cls_index")
    )  # an empty last one would begin behind the end
    return batch


def distances(longest: int, spec: PackedSpec) -> Ints:
    """The input `distance` [S, S]: how far key j stands behind query i, beginning at 0."""
    steps = np.arange(longest, dtype=np.int32)
    reach = spec.max_tokens - 1
    found: Ints = np.clip(steps[None, :] - steps[:, None], -reach, reach) + np.int32(reach)
    return found


def feeds(batch: Packed, spec: PackedSpec) -> dict[str, Ints]:
    """Every input of the graph by name, as arrays: what a runtime without device buffers takes."""
    shape = batch.shape
    arrays = {name: batch.view(name) for name in batch.offsets}
    arrays["token_offset"] = np.zeros((shape.sequences, shape.longest), np.int32)
    if spec.distance:
        arrays[DISTANCE] = distances(shape.longest, spec)
    return {name: arrays[name] for name in spec.inputs}


def _sizes(shape: Shape) -> dict[str, int]:
    """The inputs that change from batch to batch, and how many values each has."""
    return {
        "input_ids": shape.tokens,
        "position_ids": shape.tokens,
        "cu_seqlens": shape.sequences + 1,
        "cls_index": shape.sequences,
    }


def _bound(bounds: Ints, lengths: Ints, total: int, shape: Shape) -> None:
    """Rows, dummies over the tail, and empty sequences at the end."""
    rows = len(lengths)
    np.cumsum(lengths, out=bounds[1 : rows + 1])
    covered = np.arange(1, shape.sequences - rows + 1, dtype=np.int32) * shape.longest + total
    np.minimum(covered, shape.tokens, out=bounds[rows + 1 :])


def _count(positions: Ints, ids: Ints, starts: Ints, lengths: Ints, spec: PackedSpec) -> None:
    """Positions inside each row; 0, or that of padding, in the tail."""
    if spec.position_pad is None:
        positions[: len(ids)] = np.arange(len(ids), dtype=np.int32) - np.repeat(starts, lengths)
        return
    counted = ids != spec.position_pad
    count = np.cumsum(counted, dtype=np.int32)
    before = count[starts] - counted[starts]
    numbers = np.where(counted, count - np.repeat(before, lengths), 0) + spec.position_pad
    positions[: len(ids)] = numbers
    positions[len(ids) :] = spec.position_pad
