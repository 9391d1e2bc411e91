"""How do raw vectors become embeddings?

Cut first, then normalise: a cut vector that was normalised before is no unit vector (Matryoshka representation
learning, arXiv:2205.13147, section 3). B rows, D dimensions of the model, K dimensions of the answer.
"""

import base64

import numpy as np

from app.bundle.scoring import unit
from app.types import Rows


def finish(vectors_BD: Rows, *, dimensions: int, normalize: bool) -> Rows:
    """The embeddings [B, K]: the first `dimensions` values of each row, scaled to length 1 if asked."""
    cut_BK = vectors_BD[:, :dimensions]
    return unit(cut_BK) if normalize else np.ascontiguousarray(cut_BK)


def to_base64(vectors_BK: Rows) -> list[str]:
    """Each row as base64 of its little-endian float32 values."""
    return [base64.b64encode(row.tobytes()).decode("ascii") for row in vectors_BK.astype("<f4", copy=False)]
