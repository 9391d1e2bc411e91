"""What is trained, exported and compared? One encoder with its heads, outputs by name.

The output names are the graph's. B rows of a batch, T padded tokens, D hidden size, C labels.
"""

from collections.abc import Mapping

import torch
from torch import nn

from app.bundle.manifest import EMBEDDING_OUTPUT
from training.modeling.base import TextEncoder
from training.modeling.heads import ClassifierHead
from training.recipe.heads import logits_name

__all__ = ["Model", "logits_name"]


class Model(nn.Module):
    """Encoder and classifier heads.

    Args:
        encoder: ends in the pooled, unnormalised vector.
        heads: by head name, each makes logits [B, C] of the vector [B, D]; empty for a plain sentence embedder.

    Raises:
        ValueError: two head names give one output name.
    """

    def __init__(self, encoder: TextEncoder, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        by_output = {logits_name(name): head for name, head in heads.items()}
        if len(by_output) != len(heads):
            raise ValueError(f"head names {sorted(heads)} do not give distinct outputs {sorted(by_output)}")
        self.encoder = encoder
        self.heads = nn.ModuleDict(by_output)  # by output name: a module's name may hold no dot

    @property
    def device(self) -> torch.device:
        """Where the weights are, and inputs must be."""
        return next(self.parameters()).device

    @property
    def units(self) -> dict[str, float]:
        """By output of a head that was trained here: what its differences are measured in."""
        return {name: head.unit for name, head in self.heads.items() if isinstance(head, ClassifierHead)}

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> dict[str, torch.Tensor]:
        """`sentence_embedding` [B, D] and, for each head, `logits_<head>` [B, C]."""
        vector_BD: torch.Tensor = self.encoder(ids_BT, mask_BT)
        return {EMBEDDING_OUTPUT: vector_BD} | {name: head(vector_BD) for name, head in self.heads.items()}
