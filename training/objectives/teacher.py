"""How far is a student from what its teacher answers?

The answers were computed before the training (training/teacher.py); no step runs a teacher. B rows of a batch,
D dimensions of the student's vectors, E values of a teacher's answer, C labels, N different texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from training.losses.distill import like_logits, like_vectors
from training.recipe.teacher import TeacherTable


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher's answers, float32: row `places[text]` of `answers_NE` is the vector of a text, or its logits in the
    order of the student's labels. `digest` tells one teacher from another.
    """

    table: TeacherTable
    digest: str
    answers_NE: torch.Tensor
    places: Mapping[str, int]

    @property
    def sizes(self) -> set[int]:
        """Of answers that are compared one by one; those of other sizes only by how alike the rows of a batch are."""
        return {self.answers_NE.shape[1]}

    def mixed(
        self, own_loss: torch.Tensor, student_BD: torch.Tensor, texts: Sequence[str], cuts: Sequence[int] = ()
    ) -> torch.Tensor:
        """The loss of a batch: the student's own, and the teacher's by its weight.

        Args:
            own_loss: by the labels or pairs of the data.
            student_BD: what the student answers to `texts`, of the kind that the teacher's answers are.
            cuts: sizes at which the student's vectors are vectors too; the mean over all counts.
        """
        answers_BE = self.answers_NE[[self.places[text] for text in texts]].to(student_BD.device)
        if self.table.learns == "logits":
            loss = like_logits(student_BD, answers_BE, temperature=self.table.temperature)
        else:
            sizes = [*cuts, student_BD.shape[1]]
            loss = torch.stack([like_vectors(student_BD[:, :size], answers_BE) for size in sizes]).mean()
        weight = self.table.weight
        return loss if weight == 1 else weight * loss + (1 - weight) * own_loss
