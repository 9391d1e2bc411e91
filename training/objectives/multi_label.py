"""Any number of right labels a row.

B rows of a batch, C labels, N rows.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from training.calibrate.temperature import binary_log_likelihood
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.losses.classify import binary_cross_entropy, positive_weights
from training.metrics import macro_average_precision
from training.objectives.supervised import Lesson
from training.recipe.losses import LossTable

Outputs = Mapping[str, torch.Tensor]
Bools = NDArray[np.bool_]


def multi_label(output: str, table: LossTable, splits: Splits) -> Lesson:
    """Dev metric: macro average precision. It needs no threshold: an F1 at thresholds that were fitted on the same dev
    rows would be too good, the more so the rarer a label is, and one at 0.5 is 0 for rare labels in early epochs.

    Raises:
        TrainingError: a row has no list of labels, or has a label that train has not.
    """
    right_NC = label_sets(splits.train, splits.labels)
    weights_C = positive_weights(right_NC) if table.class_weights == "balanced" else None
    return Lesson(
        output=output,
        targets=torch.tensor(right_NC, dtype=torch.float32),
        dev_targets=label_sets(splits.dev, splits.labels),
        metric="macro_average_precision",
        loss=partial(_loss, output, weights_C),
        score=_score,
    )


def _loss(output: str, weights_C: torch.Tensor | None, outputs: Outputs, targets_BC: torch.Tensor) -> torch.Tensor:
    weights_C = None if weights_C is None else weights_C.to(targets_BC.device)
    return binary_cross_entropy(outputs[output], targets_BC, weights_C=weights_C)


def _score(logits_NC: NDArray[np.float32], right_NC: Bools) -> dict[str, float]:
    """Macro average precision, and the negative log likelihood of a label."""
    dev_loss = binary_log_likelihood(logits_NC, right_NC, temperature=1.0)
    return {"macro_average_precision": macro_average_precision(logits_NC, right_NC), "dev_loss": dev_loss}


def label_sets(rows: Sequence[Row], labels: Sequence[str]) -> Bools:
    """Which labels each row has, [N, C].

    Raises:
        TrainingError: a row has no list of labels, or has one that is not in `labels`.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    right_NC = np.zeros((len(rows), len(labels)), bool)
    for place, row in enumerate(rows):
        if row.labels is None:
            raise TrainingError(f"{row.where}: no list of labels, which a multi-label head needs; it may be empty")
        for label in row.labels:
            if label not in numbers:
                raise TrainingError(f"{row.where}: label {label!r} is none of the {len(labels)} labels of the data")
            right_NC[place, numbers[label]] = True
    return right_NC
