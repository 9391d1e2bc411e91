"""What does a classifier make smaller?

Plain functions on tensors. B rows of a batch, C labels, N rows.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

MOST_WEIGHT = 10.0  # of a positive: a label of one row in 500 would have 499, and its one row the gradient of a batch


def per_row_cross_entropy(
    logits_BC: torch.Tensor,
    targets_B: torch.Tensor,
    *,
    weights_C: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
) -> torch.Tensor:
    """The negative log likelihood of the right label of each row [B]; their mean is the loss of a batch.

    Args:
        weights_C: each row counts as much as its label; None: all alike.
        label_smoothing: the share of the target that is spread over all labels (arXiv:1512.00567 §7).
        gamma: focal loss (arXiv:1708.02002): rows are weighted by (1 - p)^gamma, so that sure ones count little.
    """
    losses_B = functional.cross_entropy(logits_BC, targets_B, label_smoothing=label_smoothing, reduction="none")
    if gamma:
        probs_B = logits_BC.softmax(dim=1)[torch.arange(len(targets_B), device=targets_B.device), targets_B]
        losses_B = (1 - probs_B) ** gamma * losses_B
    return losses_B if weights_C is None else weights_C[targets_B] * losses_B


def balanced_weights(targets: Sequence[int], labels: int) -> torch.Tensor:
    """For each label, rows / (labels · its rows): all labels weigh the same, and the mean row 1."""
    counts_C = torch.bincount(torch.tensor(targets), minlength=labels).clamp(min=1)
    return len(targets) / (labels * counts_C.float())


def binary_cross_entropy(
    logits_BC: torch.Tensor, targets_BC: torch.Tensor, *, weights_C: torch.Tensor | None = None
) -> torch.Tensor:
    """The negative log likelihood of whether each label is right, its mean over rows and labels.

    Args:
        targets_BC: 1 for the labels of a row, 0 for the others.
        weights_C: a label counts as much where it is right; None: as where it is not.
    """
    return functional.binary_cross_entropy_with_logits(logits_BC, targets_BC, pos_weight=weights_C)


def positive_weights(right_NC: NDArray[np.bool_]) -> torch.Tensor:
    """For each label, the rows without it by the rows with it, from 1 to `MOST_WEIGHT`: as torch's
    `BCEWithLogitsLoss` advises for `pos_weight`, but bounded.
    """
    counts_C = torch.tensor(right_NC.sum(axis=0)).clamp(min=1).float()
    return ((len(right_NC) - counts_C) / counts_C).clamp(1.0, MOST_WEIGHT)
