"""What does a run teach, and how does it tell one epoch from another?

An objective holds the tokenised rows and knows the loss of a batch and the dev metric; the loop knows neither text
nor label. B rows of a batch, D dimensions, N dev rows.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from training.data.rows import Row
from training.modeling.model import Model


class Plan(Protocol):
    """The rows of every step: a pure function of (seed, epoch, step), so that a resumed run needs no replay."""

    steps: int  # of an epoch

    def batch(self, epoch: int, step: int) -> list[int]:
        """The rows of step `step` of epoch `epoch`, both counted from 0."""
        ...


class Objective(Protocol):
    """The seam between the loop and what is learned."""

    @property
    def metric(self) -> str | None:
        """The key of `score` by which the best epoch is chosen; more is better. None: there are no dev rows."""
        ...

    @property
    def rows(self) -> Sequence[Row]:
        """The training rows, so that an error can name them."""
        ...

    def batches(self, batch_size: int, *, seed: int) -> Plan:
        """Which rows each step takes, `batch_size` of them or of each set of rows."""
        ...

    def loss(self, model: Model, indices: Sequence[int]) -> torch.Tensor:
        """The mean loss of the rows `indices`, as a scalar that can go backward."""
        ...

    def score(self, model: Model) -> Mapping[str, float]:
        """Dev metrics, "dev_loss" among them where there is one. Draws nothing, leaves the model as it was."""
        ...
