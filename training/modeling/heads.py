"""How does a vector become logits? B rows of a batch, D hidden size, C labels."""

import torch
from torch import nn


class ClassifierHead(nn.Module):
    """Dropout and one linear layer: the least that can be trained over an encoder, and enough for a fine-tuned one."""

    def __init__(self, hidden: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden, labels)
        self.unit = 1.0  # what a difference of its outputs is measured in; of logits, it is as it is

    def forward(self, vector_BD: torch.Tensor) -> torch.Tensor:
        """Raw logits [B, C]."""
        logits_BC: torch.Tensor = self.linear(self.dropout(vector_BD))
        return logits_BC

    def rescale(self, mean: float, deviation: float) -> None:
        """Give values, where it learned (value - mean) / deviation: folded into the linear layer, nothing is added."""
        with torch.no_grad():
            self.linear.weight *= deviation
            self.linear.bias.copy_(self.linear.bias * deviation + mean)
        self.unit = max(1.0, deviation, abs(mean) * 2**-7)  # float32 holds a mean to 2**-24 of it
