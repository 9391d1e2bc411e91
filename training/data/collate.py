"""How do rows become batches of token ids?

B rows of a batch, T padded tokens. The order of an epoch is a pure function of (seed, epoch), so a resumed run needs
no replay and no random state. Rows of like length share a batch: sorting inside pools of 32 batches keeps the order
random enough for SGD and takes most of the padding away (arXiv:1706.03762 section 5.1 batches by length, too).
"""

import math
import random
from collections.abc import Sequence
from functools import lru_cache

import torch
from tokenizers import Tokenizer

from app.bundle.tokenizer import cutting

POOL_BATCHES = 32


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids of each text, special tokens included, cut at its end to `max_tokens`."""
    cutter = cutting(tokenizer, max_tokens, "end")
    return [encoding.ids for encoding in cutter.encode_batch_fast(list(texts))]


def pad(
    rows: Sequence[Sequence[int]], pad_id: int, *, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`ids_BT` and `mask_BT` (1 for text, 0 for padding), both int64, T the longest row; on the CPU unless told."""
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
