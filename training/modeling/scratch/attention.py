"""What does each token take from the others? Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, 3.2).

Written out rather than torch's nn.MultiheadAttention, whose fast path gives other numbers in evaluation than in
training (pytorch issue 109532). B rows of a batch, T padded tokens, D values of a state, H heads, K = D / H of a head.
"""

import math

import torch
from torch import nn

from training.modeling.pooling import LOWEST
from training.modeling.scratch.positions import turn

Turns = tuple[torch.Tensor, torch.Tensor]  # cos and sin of positions.turns


def attention(
    query_BHTK: torch.Tensor, key_BHTK: torch.Tensor, value_BHTK: torch.Tensor, bias_B11T: torch.Tensor
) -> torch.Tensor:
    """softmax(QKᵀ / √K + bias) V, [B, H, T, K]: equation 1. `bias_B11T` is 0 for text and `LOWEST` for padding, whose
    weight then is exactly 0.
    """
    scores_BHTT = query_BHTK @ key_BHTK.transpose(-2, -1) / math.sqrt(query_BHTK.shape[-1])
    weights_BHTT = (scores_BHTT + bias_B11T).softmax(dim=-1)
    return weights_BHTT @ value_BHTK


def padding_bias(mask_BT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What `attention` adds to scores: [B, 1, 1, T]."""
    return (1 - mask_BT[:, None, None, :].to(dtype)) * LOWEST


class SelfAttention(nn.Module):
    """Concat(head_1, …, head_H) W_out, head_h = attention(x W_query, x W_key, x W_value): section 3.2.2.

    Args:
        hidden: D, a multiple of `heads`.
        heads: H.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, states_BTD: torch.Tensor, bias_B11T: torch.Tensor, turns: Turns | None) -> torch.Tensor:
        """What each token takes, [B, T, D]. `turns` are those of rotary positions."""
        query_BHTK, key_BHTK, value_BHTK = (
            self._by_head(project(states_BTD)) for project in (self.query, self.key, self.value)
        )
        if turns is not None:
            query_BHTK, key_BHTK = turn(query_BHTK, *turns), turn(key_BHTK, *turns)
        taken_BHTK = attention(query_BHTK, key_BHTK, value_BHTK, bias_B11T)
        taken_BTD: torch.Tensor = self.out(taken_BHTK.transpose(1, 2).flatten(2))
        return taken_BTD

    def _by_head(self, values_BTD: torch.Tensor) -> torch.Tensor:
        rows, tokens, _ = values_BTD.shape
        return values_BTD.reshape(rows, tokens, self.heads, -1).transpose(1, 2)
