"""How do token states become one vector a text?

By the modes of sentence-transformers, under its names, so that its folders keep their vectors. B rows of a batch, T
padded tokens, D hidden size, M modes. Rows are padded at their end, and padding never changes a vector. The vector is
not normalised here: that happens after the graph, so that every request can choose.
"""

import torch

from app.bundle.manifest import Pooling, PoolingMode

LOWEST = -65504.0  # the least finite fp16 number: stays finite when the graph is converted to half precision


def pool(hidden_BTD: torch.Tensor, mask_BT: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector [B, D] a row, or [B, M·D] by a list of M modes, in its order.

    Args:
        hidden_BTD: token states.
        mask_BT: 1 for text, 0 for padding.
        pooling: over the text's tokens `mean`, `max`, `mean_sqrt_len_tokens` (their sum by the square root of their
            number) and `weightedmean` (weights 1, 2, 3, … along the text: Muennighoff, arXiv:2202.08904); `cls` is the
            first token, `lasttoken` the last.
    """
    if isinstance(pooling, str):
        return _pool(hidden_BTD, mask_BT, pooling)
    return torch.cat([_pool(hidden_BTD, mask_BT, mode) for mode in pooling], dim=1)


def _pool(hidden_BTD: torch.Tensor, mask_BT: torch.Tensor, mode: PoolingMode) -> torch.Tensor:
    if mode == "cls":
        return hidden_BTD[:, 0]
    if mode == "lasttoken":
        last_B11 = (mask_BT.sum(dim=1) - 1).clamp(min=0).view(-1, 1, 1)
        return hidden_BTD.gather(1, last_B11.expand(-1, 1, hidden_BTD.shape[2]))[:, 0]
    if mode == "max":
        return hidden_BTD.masked_fill((mask_BT == 0).unsqueeze(-1), LOWEST).amax(dim=1)
    weights_BT = mask_BT * mask_BT.cumsum(dim=1) if mode == "weightedmean" else mask_BT
    weights_BT1 = weights_BT.unsqueeze(-1).to(hidden_BTD.dtype)
    total_B1 = weights_BT1.sum(dim=1).clamp(min=1.0)  # a row without tokens gives zeros, not NaN
    if mode == "mean_sqrt_len_tokens":
        total_B1 = total_B1.sqrt()
    return (hidden_BTD * weights_BT1).sum(dim=1) / total_B1
