"""What does a step make smaller?

Plain functions on tensors. B rows of a batch, C labels, D dimensions, K candidates (K ≥ B).
"""

import torch
from torch.nn import functional


def cross_entropy(logits_BC: torch.Tensor, targets_B: torch.Tensor, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """Mean negative log likelihood of the right labels, each softened by `label_smoothing` (arXiv:1512.00567 §7)."""
    return functional.cross_entropy(logits_BC, targets_B, label_smoothing=label_smoothing)


def in_batch_negatives(
    queries_BD: torch.Tensor, candidates_KD: torch.Tensor, *, scale: float, also_right_BK: torch.Tensor | None = None
) -> torch.Tensor:
    """InfoNCE (arXiv:1807.03748): each query shall find its own candidate among all of the batch.

    Args:
        queries_BD: vectors of the texts; normalised here.
        candidates_KD: row i < B is the positive of query i; rows from B on are explicit negatives.
        scale: the cosine is multiplied by it (1 / temperature).
        also_right_BK: True where candidate k is a right answer to query i although it came with another row: such
            pairs are left out, or the loss would push equal texts apart. None: there are none.
    """
    logits_BK = scale * functional.normalize(queries_BD, dim=1) @ functional.normalize(candidates_KD, dim=1).T
    own_B = torch.arange(len(queries_BD), device=queries_BD.device)
    if also_right_BK is not None:
        others_BK = also_right_BK.clone()
        others_BK[own_B, own_B] = False
        logits_BK = logits_BK.masked_fill(others_BK, float("-inf"))
    return functional.cross_entropy(logits_BK, own_B)
