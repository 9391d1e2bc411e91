"""What makes pairs of texts as alike as a score says?

Only the order of the scores counts, not their size: of two pairs the one with the higher score shall be more alike.
Plain functions on tensors. B pairs of a batch, D dimensions.
"""

import torch
from torch.nn import functional


def cosent(first_BD: torch.Tensor, second_BD: torch.Tensor, scores_B: torch.Tensor, *, scale: float) -> torch.Tensor:
    """CoSENT (kexue.fm/archives/8847): alike by cosine.

    Args:
        first_BD: vectors of the first texts; normalised here.
        second_BD: vectors of the second texts; normalised here.
        scores_B: how alike the texts of each pair are, in any unit.
        scale: a cosine is multiplied by it (1 / temperature).
    """
    return _ordered(scale * functional.cosine_similarity(first_BD, second_BD), scores_B)


def angle(first_BD: torch.Tensor, second_BD: torch.Tensor, scores_B: torch.Tensor, *, scale: float) -> torch.Tensor:
    """AnglE (arXiv:2309.12871 section 3.4): alike by the angle between complex vectors, whose real parts are the first
    half of a vector and whose imaginary parts are the second. It still has a gradient where a cosine is nearly 1 or -1.
    D is even; the arguments are those of `cosent`.
    """
    # Without normalize, which the equations do twice over: a quotient of lengths and a quotient of that.
    real_a, imaginary_a = functional.normalize(first_BD, dim=1).chunk(2, dim=1)
    real_b, imaginary_b = functional.normalize(second_BD, dim=1).chunk(2, dim=1)
    real = real_a * real_b + imaginary_a * imaginary_b
    imaginary = imaginary_a * real_b - real_a * imaginary_b
    return _ordered(scale * (real + imaginary).sum(dim=1).abs(), scores_B)


def _ordered(alike_B: torch.Tensor, scores_B: torch.Tensor) -> torch.Tensor:
    """log(1 + the sum of exp(alike_j - alike_i) over all pairs i, j of which i has the higher score)."""
    excess_BB = alike_B[None, :] - alike_B[:, None]
    higher_BB = scores_B[:, None] > scores_B[None, :]
    return functional.pad(excess_BB[higher_BB], (1, 0)).logsumexp(dim=0)
