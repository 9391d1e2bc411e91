"""What does a classifier make smaller?

Plain functions on tensors. B rows of a batch, C labels.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional


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
