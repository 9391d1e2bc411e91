"""Lion (arXiv:2302.06675, Algorithm 2): steps of one size in every weight, the sign of an interpolated momentum.

It wants a rate three to ten times lower than AdamW's, says section 5. torch has none.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

BETAS = (0.9, 0.99)


class Lion(torch.optim.Optimizer):
    """The optimiser; its only state is one momentum a weight.

    Args:
        params: groups, each with its own `lr` and `weight_decay`.
        lr: for groups that bring none.
    """

    def __init__(self, params: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure: one gradient a step
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group["lr"], group["weight_decay"])

    def _move(self, parameter: nn.Parameter, lr: float, weight_decay: float) -> None:
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        direction = state["momentum"].lerp(parameter.grad, 1 - BETAS[0]).sign_()
        parameter.mul_(1 - lr * weight_decay).add_(direction, alpha=-lr)
        state["momentum"].lerp_(parameter.grad, 1 - BETAS[1])
