"""What does an encoder of texts, or of numbers, offer to heads, exporters and gates, whatever it is made of?

B rows of a batch, T padded tokens, D values of a vector.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from app.bundle.manifest import Pooling
from app.bundle.vectors import VectorInput


class TextEncoder(nn.Module, ABC):
    """Takes ids, or vectors [B, T, F], and a mask, and gives one pooled, unnormalised vector a row.

    Attributes:
        trunk: an nn.Module; transformers' are not typed.
        pooling: how its states become one vector.
        after_pooling: what makes another vector of that one, in order.
        hidden: values of a state.
        width: values of a vector.
        vectors: what it reads, where that is numbers; None: ids.
    """

    trunk: Any
    pooling: Pooling
    after_pooling: nn.Sequential
    hidden: int
    width: int
    vectors: VectorInput | None = None

    def weights(self) -> dict[str, torch.Tensor]:
        """Every weight that has a part in a vector, by name."""
        after = {f"after_pooling.{name}": tensor for name, tensor in self.after_pooling.state_dict().items()}
        return {**self.trunk.state_dict(), **after}

    @abstractmethod
    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """The vector [B, D] of each row, float32. `mask_BT` is 1 for text, 0 for padding, which ends a row."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """How many ids it knows."""

    @abstractmethod
    def exporting(self) -> AbstractContextManager[int | None]:
        """While this lasts, attention is written out as ONNX Runtime's optimizer for BERT knows it; gives the number of
        its heads, or None for an encoder that is not built like BERT.
        """
