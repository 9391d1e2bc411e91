"""One number a row.

B rows of a batch, N rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.losses.regress import huber, mse
from training.metrics import r_squared, spearman
from training.objectives.supervised import Lesson
from training.recipe.losses import LossTable

Outputs = Mapping[str, torch.Tensor]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scale:
    """The mean and the standard deviation of the training values: a head learns (value - mean) / deviation."""

    mean: float
    deviation: float


def scale_of(values_N: Floats) -> Scale:
    """Of values that are not all the same."""
    return Scale(float(values_N.mean()), float(values_N.std()))


def regression(output: str, table: LossTable, splits: Splits) -> Lesson:
    """Dev metric: the share of the variance of the values that is explained (R squared). The values are what callers
    get; a rank correlation would not mind if all of them were off.

    Raises:
        TrainingError: a row has no value.
    """
    train_N, dev_N = values(splits.train), values(splits.dev)
    scale = scale_of(train_N)
    standard_N1 = ((train_N - scale.mean) / scale.deviation)[:, None]
    return Lesson(
        output=output,
        targets=torch.tensor(standard_N1, dtype=torch.float32),
        dev_targets=((dev_N - scale.mean) / scale.deviation)[:, None],
        metric="r_squared",
        loss=partial(_loss, output, table),
        score=_score,
    )


def _loss(output: str, table: LossTable, outputs: Outputs, targets_B1: torch.Tensor) -> torch.Tensor:
    if table.name == "huber":
        return huber(outputs[output], targets_B1, delta=table.delta)
    return mse(outputs[output], targets_B1)


def _score(found_N1: NDArray[np.float32], right_N1: Floats) -> dict[str, float]:
    """R squared, Spearman's rank correlation, and the mean squared error in standard deviations."""
    found_N, right_N = found_N1[:, 0].astype(np.float64), right_N1[:, 0]
    return {
        "r_squared": r_squared(right_N, found_N),
        "spearman": spearman(right_N, found_N),
        "dev_loss": float(((found_N - right_N) ** 2).mean()),
    }


def values(rows: Sequence[Row]) -> Floats:
    """The value of each row.

    Raises:
        TrainingError: a row has none.
    """
    found = []
    for row in rows:
        if row.value is None:
            raise TrainingError(f"{row.where}: no value; a regression needs one in every row")
        found.append(row.value)
    return np.array(found, np.float64)
