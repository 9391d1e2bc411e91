"""How does a transformer know where a token stands?

By waves that are added to the tokens, or by turning queries and keys so that their product knows the distance. (Learned
positions are a table, an nn.Embedding.) T tokens, D values of a state, K values of a head; both even where they are
used here.
"""

import torch

BASE = 10_000.0  # wavelengths go from 2π up to 2π times this


def sinusoids(tokens: int, width: int) -> torch.Tensor:
    """PE[t, 2i] = sin(t / 10000^(2i/D)), PE[t, 2i+1] = cos(t / 10000^(2i/D)): [T, D], float32 (Vaswani et al. 2017,
    arXiv:1706.03762, section 3.5).
    """
    angles = _angles(tokens, width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[:, :width].float()


def turns(tokens: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cos and sin, [T, K/2] each, float32, of the angles t · 10000^(-2i/K) by which the i-th pair of values at token t
    is turned (Su et al. 2021, RoFormer, arXiv:2104.09864, section 3.2.2).
    """
    angles = _angles(tokens, size)
    return angles.cos().float(), angles.sin().float()


def turn(values_BHTK: torch.Tensor, cos_TP: torch.Tensor, sin_TP: torch.Tensor) -> torch.Tensor:
    """Each pair (a, b) of neighbouring values becomes (a cos - b sin, a sin + b cos): RoFormer, equation 34."""
    first_BHTP, second_BHTP = values_BHTK[..., ::2], values_BHTK[..., 1::2]
    turned = (first_BHTP * cos_TP - second_BHTP * sin_TP, first_BHTP * sin_TP + second_BHTP * cos_TP)
    return torch.stack(turned, dim=-1).flatten(-2)


def _angles(tokens: int, width: int) -> torch.Tensor:
    """T / 10000^(2i/width): [T, width/2, rounded up], float64: late positions would lose digits in float32."""
    steps_P = torch.arange(0, width, 2, dtype=torch.float64) / width
    return torch.arange(tokens, dtype=torch.float64).unsqueeze(-1) / BASE**steps_P
