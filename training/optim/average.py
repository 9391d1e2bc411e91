"""Which weights are judged and kept, when single steps are too noisy?

The exponential moving average of all steps' weights. Its decay grows with the steps, min(decay, (1 + t) / (10 + t)) as
TensorFlow's ExponentialMovingAverage has it, so that the first, bad weights are forgotten in a short run, too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


class Average:
    """The average of a model's weights over its steps. `tensors` is by name, as in its state dict."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def update(self, step: int) -> None:
        """Take in the weights as they are after step `step`, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, tensor in self._model.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - decay)
            else:  # a count or an index has no average
                self.tensors[name].copy_(tensor)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While this lasts, the model has the averaged weights."""
        own = {name: tensor.detach().clone() for name, tensor in self._model.state_dict().items()}
        self._model.load_state_dict(self.tensors)
        try:
            yield
        finally:
            self._model.load_state_dict(own)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from the average of a checkpoint."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
