"""How do heads train over an encoder that stays as it is?

Its vectors are computed once. A model in small then takes the place of the whole: its encoder looks vectors up, its
heads are those of the whole model, and a text is the number of its vector. N vectors, D dimensions.
"""

from dataclasses import replace

import torch
from torch import nn

from app.bundle.manifest import EMBEDDING_OUTPUT
from training.evaluate import predict_ids
from training.modeling.model import Model
from training.objectives.supervised import Supervised


class Lookup(nn.Module):
    """Takes ids `[[number], …]` and gives the vectors of these numbers; it has no weights."""

    vectors_ND: torch.Tensor

    def __init__(self, vectors_ND: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors_ND", vectors_ND, persistent=False)

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """The vector [B, D] of each number."""
        return self.vectors_ND[ids_BT[:, 0]]


def over_vectors(model: Model, objective: Supervised) -> tuple[Model, Supervised]:
    """The model in small, which shares the heads of `model`, and the objective for it; training it trains `model`."""
    texts = [*objective.ids, *objective.dev_ids]
    vectors_ND = torch.from_numpy(predict_ids(model, texts, pad_id=objective.pad_id)[EMBEDDING_OUTPUT])
    lookup = Lookup(vectors_ND.to(model.device))
    small = Model(lookup, {})  # type: ignore[arg-type]  # nothing but its vectors is asked for here
    small.heads = model.heads
    numbers = [[number] for number in range(len(texts))]
    rows = len(objective.ids)
    return small, replace(objective, ids=numbers[:rows], dev_ids=numbers[rows:])
