"""One right label a row.

B rows of a batch, C labels, N dev rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from app.bundle.manifest import EMBEDDING_OUTPUT
from training.calibrate.temperature import negative_log_likelihood
from training.data.collate import Item, pad
from training.data.rows import Row
from training.errors import TrainingError
from training.evaluate import predict_ids
from training.losses.classify import per_row_cross_entropy
from training.losses.contrastive import supervised_contrastive
from training.metrics import accuracy
from training.modeling.model import Model
from training.objectives.teacher import Teacher
from training.parallel import everyone, gathered
from training.recipe.losses import LossTable


@dataclass(frozen=True, slots=True)
class Classification:
    """One right label a row; dev metric: accuracy."""

    rows: Sequence[Row]
    ids: Sequence[Item]
    targets: Sequence[int]
    dev_ids: Sequence[Item]
    dev_targets: Sequence[int]
    output: str
    pad_id: int
    table: LossTable
    weights_C: torch.Tensor | None = None
    metric: str | None = "accuracy"
    teacher: Teacher | None = None

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each training row."""
        return [len(row) for row in self.ids]

    def loss(self, model: Model, indices: Sequence[int]) -> torch.Tensor:
        """Cross-entropy of the batch, its share of the supervised contrastive loss, and the teacher's."""
        outputs = model(*pad([self.ids[index] for index in indices], self.pad_id, device=model.device))
        targets_B = torch.tensor([self.targets[index] for index in indices], device=model.device)
        table, logits_BC = self.table, outputs[self.output]
        loss = per_row_cross_entropy(
            logits_BC,
            targets_B,
            weights_C=None if self.weights_C is None else self.weights_C.to(model.device),
            label_smoothing=table.label_smoothing,
            gamma=table.gamma if table.name == "focal" else 0.0,
        ).mean()
        if table.contrastive_share:
            vectors_ND, targets_N = gathered(outputs[EMBEDDING_OUTPUT]), gathered(targets_B)
            contrastive = supervised_contrastive(vectors_ND, targets_N, temperature=table.temperature)
            loss = (1 - table.contrastive_share) * loss + table.contrastive_share * contrastive
        if self.teacher is None:
            return loss
        answers_BD = logits_BC if self.teacher.table.learns == "logits" else outputs[EMBEDDING_OUTPUT]
        if answers_BD.shape[1] not in self.teacher.sizes:  # it teaches by how alike rows are
            answers_BD, indices = gathered(answers_BD), everyone(indices)
        return self.teacher.mixed(loss, answers_BD, [self.rows[index].text for index in indices])

    def score(self, model: Model) -> Mapping[str, float]:
        """Accuracy and negative log likelihood on dev."""
        logits_NC = predict_ids(model, self.dev_ids, pad_id=self.pad_id)[self.output]
        right_N = np.array(self.dev_targets)
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
