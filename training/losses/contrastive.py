"""What does a space of vectors make smaller?

Plain functions on tensors. B rows of a batch, D dimensions, K candidates (K ≥ B).
"""

import torch
from torch.nn import functional


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


def supervised_contrastive(
    vectors_BD: torch.Tensor, targets_B: torch.Tensor, *, temperature: float = 0.1
) -> torch.Tensor:
    """Rows of one label shall be nearer to each other than to those of others (arXiv:2004.11362, eq. 2).

    Rows whose label stands once in the batch have nothing to be near to and are left out; 0 if all are such.
    """
    unit_BD = functional.normalize(vectors_BD, dim=1)
    itself_BB = torch.eye(len(unit_BD), dtype=torch.bool, device=unit_BD.device)
    scores_BB = (unit_BD @ unit_BD.T / temperature).masked_fill(itself_BB, float("-inf"))
    log_shares_BB = (scores_BB - scores_BB.logsumexp(dim=1, keepdim=True)).masked_fill(itself_BB, 0.0)
    alike_BB = (targets_B[:, None] == targets_B[None]) & ~itself_BB
    pairs_B = alike_BB.sum(dim=1)
    losses_B = -(log_shares_BB * alike_BB).sum(dim=1) / pairs_B.clamp(min=1)
    return losses_B[pairs_B > 0].sum() / (pairs_B > 0).sum().clamp(min=1)


def triplet(
    anchors_BD: torch.Tensor, positives_BD: torch.Tensor, negatives_BD: torch.Tensor, *, margin: float
) -> torch.Tensor:
    """The positive shall be nearer than the negative by `margin`, in cosine (arXiv:1503.03832, eq. 1)."""
    near_B = functional.cosine_similarity(anchors_BD, positives_BD)
    far_B = functional.cosine_similarity(anchors_BD, negatives_BD)
    return (margin - near_B + far_B).clamp(min=0).mean()
