"""How do token states become one vector a text?

B rows of a batch, T padded tokens, D hidden size. Padding never changes a vector. The vector is not normalised here:
that happens after the graph, so that every request can choose.
"""

import torch

from app.bundle.manifest import Pooling

LOWEST = -65504.0  # the least finite fp16 number: stays finite when the graph is converted to half precision


def pool(hidden_BTD: torch.Tensor, mask_BT: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector [B, D] a row.

    Args:
        hidden_BTD: token states.
        mask_BT: 1 for text, 0 for padding.
        pooling: `mean` and `max` over the text's tokens, `cls` the first token.
    """
    if pooling == "cls":
        return hidden_BTD[:, 0]
    if pooling == "max":
        return hidden_BTD.masked_fill((mask_BT == 0).unsqueeze(-1), LOWEST).amax(dim=1)
    mask_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
    counts_B1 = mask_BT1.sum(dim=1).clamp(min=1.0)  # a row without tokens gives zeros, not NaN
    return (hidden_BTD * mask_BT1).sum(dim=1) / counts_B1
