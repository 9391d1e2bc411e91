"""What does a regression make smaller?

Plain functions on tensors. B rows of a batch. Values and errors are in standard deviations of the training values, so
that rates and `delta` mean the same whatever the values are.
"""

import torch
from torch.nn import functional


def mse(values_B1: torch.Tensor, targets_B1: torch.Tensor) -> torch.Tensor:
    """The mean squared error."""
    return functional.mse_loss(values_B1, targets_B1)


def huber(values_B1: torch.Tensor, targets_B1: torch.Tensor, *, delta: float) -> torch.Tensor:
    """Half the squared error up to `delta`, beyond it growing in proportion (Huber 1964): outliers pull less."""
    return functional.huber_loss(values_B1, targets_B1, delta=delta)
