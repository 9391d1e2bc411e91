"""How do rows become vectors that can go backward?

All at once, or a few at a time without keeping what the way back needs: each part then goes forward a second time, with
its dropout replayed, when the gradient of its vectors is known (GradCache, arXiv:2101.06983). Memory is that of one
part, the gradient that of the whole batch, so a loss over thousands of rows fits. B rows, D dimensions.
"""

from collections.abc import Sequence

import torch
from torch.utils.checkpoint import checkpoint

from training.data.collate import pad
from training.modeling.model import Model


def encode_rows(
    model: Model, rows: Sequence[Sequence[int]], pad_id: int, *, cached_rows: int | None = None
) -> torch.Tensor:
    """The vectors [B, D] of rows of token ids, row i for `rows[i]`; `cached_rows` at a time, or all (None)."""
    if cached_rows is None:
        vectors_BD: torch.Tensor = model.encoder(*pad(rows, pad_id, device=model.device))
        return vectors_BD
    parts = [rows[start : start + cached_rows] for start in range(0, len(rows), cached_rows)]
    # Each part has its own way back, which torch walks from the last part to the first, one after the other.
    return torch.cat(
        [checkpoint(model.encoder, *pad(part, pad_id, device=model.device), use_reentrant=False) for part in parts]
    )
