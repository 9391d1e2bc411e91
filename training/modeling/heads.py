"""How does a vector become logits? B rows of a batch, D hidden size, C labels."""

import torch
from torch import nn


class ClassifierHead(nn.Module):
    """Dropout and one linear layer: the least that can be trained over an encoder, and enough for a fine-tuned one."""

    def __init__(self, hidden: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden, labels)

    def forward(self, vector_BD: torch.Tensor) -> torch.Tensor:
        """Raw logits [B, C]."""
        logits_BC: torch.Tensor = self.linear(self.dropout(vector_BD))
        return logits_BC
