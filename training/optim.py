"""How do gradients move weights?

AdamW (arXiv:1711.05101) with linear warm-up and linear decay. The rate is a pure function of the step, so there is no
scheduler whose state could be lost.
"""

import torch
from torch import nn

from training.recipe import OptimTable


def make_optimizer(model: nn.Module, table: OptimTable) -> torch.optim.AdamW:
    """AdamW over up to four groups: encoder and heads, with and without weight decay.

    Biases and normalisation weights (all one-dimensional) do not decay: there is nothing in them to regularise.
    Parameters under `heads.` learn `head_lr_scale` times faster.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("heads."), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "peak_lr": table.lr * (table.head_lr_scale if is_head else 1.0),
                "weight_decay": table.weight_decay if decays else 0.0,
            }
            for (is_head, decays), parameters in groups.items()
        ],
        lr=table.lr,
    )


def lr_factor(step: int, *, steps: int, warmup_share: float) -> float:
    """The share of the peak rate that step `step` of `steps` uses (counted from 0); over 0 at every step."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return (steps - step) / max(1, steps - warmup)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give each group its rate for this step."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
