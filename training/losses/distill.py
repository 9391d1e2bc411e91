"""What makes a student like its teacher?

Plain functions on tensors. B rows of a batch, D dimensions of the student's vectors, E of the teacher's, C labels.
"""

import torch
from torch.nn import functional


def like_vectors(vectors_BD: torch.Tensor, teacher_BE: torch.Tensor) -> torch.Tensor:
    """The mean squared distance of the unit vectors, 2 - 2 cos, where both have as many dimensions. Else no number of
    one belongs to a number of the other, and it is that of the cosines that each row has with all others of the batch
    (as in arXiv:1907.09682); 0 for a row that has no others.
    """
    unit_BD, wanted_BE = functional.normalize(vectors_BD, dim=1), functional.normalize(teacher_BE, dim=1)
    if unit_BD.shape == wanted_BE.shape:
        return (unit_BD - wanted_BE).square().sum(dim=1).mean()
    off_BB = (unit_BD @ unit_BD.T - wanted_BE @ wanted_BE.T).square()
    rows = len(off_BB)
    others_BB = ~torch.eye(rows, dtype=torch.bool, device=off_BB.device)
    return (off_BB * others_BB).sum() / max(rows * (rows - 1), 1)


def like_logits(logits_BC: torch.Tensor, teacher_BC: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """How many nats the student's probabilities are off the teacher's (KL), both softened by `temperature`; times its
    square, so that gradients keep their size (arXiv:1503.02531 section 2).
    """
    student_BC = functional.log_softmax(logits_BC / temperature, dim=1)
    wanted_BC = functional.log_softmax(teacher_BC / temperature, dim=1)
    return temperature**2 * functional.kl_div(student_BC, wanted_BC, reduction="batchmean", log_target=True)
