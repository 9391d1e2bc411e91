"""How does one vector become another? Layers of Linear and ReLU: h_k = max(0, W_k h_{k-1} + b_k), h_0 the input.

A multilayer perceptron: Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors; with
rectified linear units, Glorot, Bordes & Bengio 2011, Deep Sparse Rectifier Neural Networks. B rows of a batch, F values
of a vector, D values of the last layer.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from app.bundle.vectors import VectorInput
from training.modeling.base import TextEncoder
from training.modeling.scratch.embedding import Standardise


class MlpTrunk(nn.Module):
    """Standardised values, then Linear, ReLU and dropout for each of `widths`."""

    def __init__(self, widths: Sequence[int], dropout: float, like: VectorInput) -> None:
        super().__init__()
        self.hidden = widths[-1]
        self.architecture = f"mlp, {' → '.join(map(str, [like.width, *widths]))}, relu"
        self.standardise = Standardise(like)
        self.layers = nn.ModuleList(
            nn.Linear(before, after) for before, after in zip([like.width, *widths], widths, strict=False)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, values_BF: torch.Tensor) -> torch.Tensor:
        """The last layer, [B, D]."""
        values_BD: torch.Tensor = self.standardise(values_BF)
        for layer in self.layers:
            values_BD = self.dropout(torch.relu(layer(values_BD)))
        return values_BD


class MlpEncoder(TextEncoder):
    """An `MlpTrunk` as an encoder: its last layer is the vector of a row."""

    trunk: MlpTrunk

    def __init__(self, trunk: MlpTrunk, like: VectorInput) -> None:
        super().__init__()
        self.trunk = trunk
        self.vectors = like
        self.pooling = "mean"  # of one state
        self.after_pooling = nn.Sequential()
        self.hidden = self.width = trunk.hidden

    def forward(self, values_B1F: torch.Tensor, mask_B1: torch.Tensor) -> torch.Tensor:
        """The vector [B, D] of each row, which is a sequence of one vector: nothing is masked."""
        vector_BD: torch.Tensor = self.trunk(values_B1F.flatten(1))
        return vector_BD

    @property
    def vocabulary(self) -> int:
        """It knows no ids."""
        return 0

    def exporting(self) -> AbstractContextManager[int | None]:
        """Nothing is to be changed, and nothing is for the optimizer for BERT."""
        return nullcontext()
