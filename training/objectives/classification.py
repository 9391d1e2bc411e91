"""One right label a row.

B rows of a batch, C labels, N dev rows.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.bundle.manifest import EMBEDDING_OUTPUT
from training.calibrate.temperature import negative_log_likelihood
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.losses.classify import balanced_weights, per_row_cross_entropy
from training.losses.contrastive import supervised_contrastive
from training.metrics import accuracy
from training.objectives.supervised import Lesson
from training.parallel import gathered
from training.recipe.losses import LossTable

Outputs = Mapping[str, torch.Tensor]


def single_label(output: str, table: LossTable, splits: Splits) -> Lesson:
    """Dev metric: accuracy.

    Raises:
        TrainingError: a row has no label, or one that train has not.
    """
    right = targets(splits.train, splits.labels)
    weights_C = balanced_weights(right, len(splits.labels)) if table.class_weights == "balanced" else None
    return Lesson(
        output=output,
        targets=torch.tensor(right),
        dev_targets=np.array(targets(splits.dev, splits.labels)),
        metric="accuracy",
        loss=partial(_loss, output, table, weights_C),
        score=_score,
    )


def _loss(
    output: str, table: LossTable, weights_C: torch.Tensor | None, outputs: Outputs, targets_B: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the batch, and its share of the supervised contrastive loss."""
    loss = per_row_cross_entropy(
        outputs[output],
        targets_B,
        weights_C=None if weights_C is None else weights_C.to(targets_B.device),
        label_smoothing=table.label_smoothing,
        gamma=table.gamma if table.name == "focal" else 0.0,
    ).mean()
    if not table.contrastive_share:
        return loss
    vectors_ND, targets_N = gathered(outputs[EMBEDDING_OUTPUT]), gathered(targets_B)
    contrastive = supervised_contrastive(vectors_ND, targets_N, temperature=table.temperature)
    return (1 - table.contrastive_share) * loss + table.contrastive_share * contrastive


def _score(logits_NC: NDArray[np.float32], right_N: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy and negative log likelihood."""
    dev_loss = negative_log_likelihood(logits_NC, right_N, temperature=1.0)
    return {"accuracy": accuracy(right_N, logits_NC.argmax(axis=1)), "dev_loss": dev_loss}


def targets(rows: Sequence[Row], labels: Sequence[str]) -> list[int]:
    """The number of each row's label.

    Raises:
        TrainingError: a row has no label, or one that is not in `labels`.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    found = []
    for row in rows:
        if row.label is None or row.label not in numbers:
            raise TrainingError(f"{row.where}: label {row.label!r} is none of the {len(labels)} labels of the data")
        found.append(numbers[row.label])
    return found
