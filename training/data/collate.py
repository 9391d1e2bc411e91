"""How do rows become batches of token ids, or of vectors?

B rows of a batch, T padded tokens or vectors, F values of a vector.
The order of an epoch is a pure function of (seed, epoch), so a resumed run needs no replay and no random state. Rows
of like length share a batch: sorting inside pools of 32 batches keeps the order random enough for SGD and takes most
of the padding away (arXiv:1706.03762 section 5.1 batches by length, too).
"""

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import cast, overload

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence

from app.bundle.tokenizer import cutting
from app.bundle.vectors import Floats, VectorInput

POOL_BATCHES = 32


Reader = Tokenizer | VectorInput  # what makes an item of an input: a tokenizer of a text, the form of a row of numbers
Input = str | Floats  # a text; numbers as [F] or [T, F]
Item = Sequence[int] | Floats  # token ids; [T, F]


@overload
def encode(reader: Tokenizer, inputs: Sequence[str], max_tokens: int) -> list[list[int]]: ...
@overload
def encode(reader: Reader, inputs: Sequence[Input], max_tokens: int) -> list[Item]: ...
def encode(reader: Reader, inputs: Sequence[Input], max_tokens: int) -> list[Item] | list[list[int]]:
    """Each input as a model reads it, cut at its end to `max_tokens`: token ids of a text, special tokens included, or
    the vectors of a row of numbers.
    """
    if isinstance(reader, VectorInput):
        return [cast(Item, np.atleast_2d(cast(Floats, one))[:max_tokens]) for one in inputs]
    cutter = cutting(reader, max_tokens, "end")
    return [encoding.ids for encoding in cutter.encode_batch_fast(list(inputs))]


def tokenizer_of(reader: Reader) -> Tokenizer:
    """What reads texts, for what is built for texts alone.

    Raises:
        TypeError: the reader is one of numbers.
    """
    if isinstance(reader, VectorInput):
        raise TypeError("numbers have no tokenizer")
    return reader


def reader_bytes(reader: Reader) -> bytes:
    """All that decides what it makes of an input."""
    return (reader.model_dump_json() if isinstance(reader, VectorInput) else reader.to_str()).encode()


def pad(rows: Sequence[Item], pad_id: int, *, device: torch.device | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """`ids_BT`, int64, or vectors [B, T, F], float32 with zeros for padding, and `mask_BT`, int64, 1 for what is there
    and 0 for padding; T is the longest row. On the CPU unless told.
    """
    if isinstance(rows[0], np.ndarray):
        values = [torch.from_numpy(np.ascontiguousarray(row, np.float32)) for row in rows]
        masks = [torch.ones(len(row), dtype=torch.long) for row in rows]
        return pad_sequence(values, batch_first=True).to(device), pad_sequence(masks, batch_first=True).to(device)
    longest = max(len(row) for row in rows)
    ids_BT = torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows], dtype=torch.long)
    mask_BT = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], dtype=torch.long)
    return ids_BT.to(device), mask_BT.to(device)


def epoch_batches(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Every index of `lengths` once, in batches of at most `batch_size`; the same for the same seed and epoch.

    Args:
        lengths: tokens of each row.
        batch_size: rows of a batch; the last batch of the last pool may be smaller.
        seed: of the run.
        epoch: counted from 0; another epoch gives another order.
    """
    shuffler = random.Random(f"{seed}:{epoch}")  # a str seeds through sha512: the same on every machine
    order = list(range(len(lengths)))
    shuffler.shuffle(order)
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_size * POOL_BATCHES):
        pool = sorted(order[start : start + batch_size * POOL_BATCHES], key=lambda index: lengths[index])
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    shuffler.shuffle(batches)
    return batches


class Batches:
    """Which rows does each step take? A pure function of (seed, epoch, step); the order of one epoch is remembered.

    Args:
        lengths: tokens of each row.
        batch_size: rows of a batch.
        seed: of the run.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, *, seed: int) -> None:
        self.steps = math.ceil(len(lengths) / batch_size)  # of an epoch
        self._order = lru_cache(maxsize=1)(lambda epoch: epoch_batches(lengths, batch_size, seed=seed, epoch=epoch))

    def batch(self, epoch: int, step: int) -> list[int]:
        """The rows of step `step` of epoch `epoch`, both counted from 0."""
        return self._order(epoch)[step]
