"""Every text has a right answer: what does a head learn of it?

What differs from head to head – its output, targets, loss and dev metric – is its lesson; what all heads share are the
tokenised texts. B rows of a batch, C values of an output, N training rows, M dev rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.bundle.manifest import EMBEDDING_OUTPUT
from training.data.collate import Batches, Item, pad
from training.data.rows import Row
from training.evaluate import predict_ids
from training.modeling.model import Model
from training.objectives.teacher import Teacher
from training.parallel import everyone, gathered

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one head learns.

    `targets` and `dev_targets` have a row for each text, of the type that `loss` and `score` read. `loss` is of the
    model's outputs by name and the targets of a batch, its mean as a scalar; `score` is of the head's outputs [M, C]
    and the dev targets, and has the key `metric`, of which more is better.
    """

    output: str
    targets: torch.Tensor
    dev_targets: NDArray[Any]
    metric: str
    loss: Callable[[Mapping[str, torch.Tensor], torch.Tensor], torch.Tensor]
    score: Callable[[Floats, NDArray[Any]], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Supervised:
    """The objective of one head over tokenised texts, or numbers."""

    rows: Sequence[Row]
    ids: Sequence[Item]
    dev_ids: Sequence[Item]
    pad_id: int
    lesson: Lesson
    teacher: Teacher | None = None

    @property
    def metric(self) -> str | None:
        """That of the lesson; None: there are no dev rows."""
        return self.lesson.metric if self.dev_ids else None

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each training row."""
        return [len(row) for row in self.ids]

    def batches(self, batch_size: int, *, seed: int) -> Batches:
        """`batch_size` rows a step, of like length."""
        return Batches(self.lengths, batch_size, seed=seed)

    def loss(self, model: Model, indices: Sequence[int]) -> torch.Tensor:
        """The lesson's, of the batch, and the teacher's."""
        outputs = model(*pad([self.ids[index] for index in indices], self.pad_id, device=model.device))
        loss = self.lesson.loss(outputs, self.lesson.targets[list(indices)].to(model.device))
        if self.teacher is None:
            return loss
        answers_BD = outputs[self.lesson.output if self.teacher.table.learns == "logits" else EMBEDDING_OUTPUT]
        if answers_BD.shape[1] not in self.teacher.sizes:  # it teaches by how alike rows are
            answers_BD, indices = gathered(answers_BD), everyone(indices)
        return self.teacher.mixed(loss, answers_BD, [self.rows[index].text for index in indices])

    def score(self, model: Model) -> Mapping[str, float]:
        """The lesson's, on dev."""
        if not self.dev_ids:
            return {}
        outputs = predict_ids(model, self.dev_ids, pad_id=self.pad_id)
        return self.lesson.score(outputs[self.lesson.output], self.lesson.dev_targets)
