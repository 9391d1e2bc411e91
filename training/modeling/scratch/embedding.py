"""What does the first layer get of a token, or of a vector of numbers?

A token has a row of a table. Numbers are standardised by the training rows (LeCun et al. 1998, Efficient BackProp,
section 4.3), inside the module, so that the exported graph does it, too. F values of a vector.
"""

import torch
from torch import nn

from app.bundle.vectors import VectorInput


class Standardise(nn.Module):
    """(x - mean) / std, by value. Both are of the training rows, and do not learn."""

    def __init__(self, like: VectorInput) -> None:
        super().__init__()
        self.register_buffer("mean_F", torch.tensor(like.mean))
        self.register_buffer("std_F", torch.tensor(like.std))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Of [..., F]."""
        return (values - self.mean_F) / self.std_F

    mean_F: torch.Tensor
    std_F: torch.Tensor


class VectorEmbedding(nn.Sequential):
    """In the place of a table of tokens: each vector standardised, then a Linear."""

    def __init__(self, like: VectorInput, width: int) -> None:
        super().__init__(Standardise(like), nn.Linear(like.width, width))


def embedding(inputs: int | VectorInput, width: int) -> nn.Embedding | VectorEmbedding:
    """`width` values for each of so many token ids, or for each vector."""
    return nn.Embedding(inputs, width) if isinstance(inputs, int) else VectorEmbedding(inputs, width)
