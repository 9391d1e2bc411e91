"""Two texts shall be as alike as the score of their pair says.

B rows of a batch, K texts of a batch, D dimensions, N rows of a split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from app.bundle.manifest import EMBEDDING_OUTPUT
from training.data.collate import Batches
from training.data.rows import Row
from training.errors import TrainingError
from training.evaluate import predict_ids
from training.losses.scored import angle, cosent
from training.metrics import cosines, spearman
from training.modeling.model import Model
from training.objectives.encoding import encode_rows
from training.objectives.retrieval import Pairs
from training.objectives.teacher import Teacher
from training.parallel import everyone, gathered
from training.recipe.losses import LossTable

LOSSES = {"cosent": cosent, "angle": angle}


@dataclass(frozen=True, slots=True)
class Similarity:
    """Pairs of texts with scores; dev metric: Spearman's correlation of their cosines with the scores."""

    rows: Sequence[Row]
    train: Pairs
    dev_rows: Sequence[Row]
    dev: Pairs
    pad_id: int
    table: LossTable
    cuts: Sequence[int] = ()
    teacher: Teacher | None = None
    metric: str | None = "spearman"

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of the longer side of each training pair."""
        return [max(len(a), len(b)) for a, b in zip(self.train.ids, self.train.positive_ids, strict=True)]

    def batches(self, batch_size: int, *, seed: int) -> Batches:
        """`batch_size` rows a step, of like length."""
        return Batches(self.lengths, batch_size, seed=seed)

    def loss(self, model: Model, indices: Sequence[int]) -> torch.Tensor:
        """The loss of the batch, with cuts the mean over all sizes (arXiv:2205.13147)."""
        sides = ([side[index] for index in indices] for side in (self.train.ids, self.train.positive_ids))
        first_BD, second_BD = (
            gathered(encode_rows(model, side, self.pad_id, cached_rows=self.table.cached_rows)) for side in sides
        )
        indices = everyone(indices)
        scores_B = torch.from_numpy(scores_of([self.rows[index] for index in indices])).to(model.device)
        loss_of, scale = LOSSES[self.table.name], self.table.scale
        sizes = [*self.cuts, first_BD.shape[1]]
        parts = [loss_of(first_BD[:, :size], second_BD[:, :size], scores_B, scale=scale) for size in sizes]
        loss = torch.stack(parts).mean()
        if self.teacher is None:
            return loss
        read = [side[index] for side in (self.train.texts, self.train.positives) for index in indices]
        return self.teacher.mixed(loss, torch.cat([first_BD, second_BD]), read, self.cuts)

    def score(self, model: Model) -> Mapping[str, float]:
        """Spearman's correlation on dev."""
        cosines_N = cosines_by_size(model, self.dev, self.pad_id, [None])[None]
        return {"spearman": spearman(cosines_N, scores_of(self.dev_rows))}


def scores_of(rows: Sequence[Row]) -> NDArray[np.float64]:
    """The score [N] of each row.

    Raises:
        TrainingError: a row has none.
    """
    found = []
    for row in rows:
        if row.score is None:
            raise TrainingError(f"{row.where}: no score; name its column in data.columns.score")
        found.append(row.score)
    return np.array(found, np.float64)


def cosines_by_size(
    model: Model, pairs: Pairs, pad_id: int, sizes: Sequence[int | None]
) -> dict[int | None, NDArray[np.float32]]:
    """The cosine [N] of each pair, for vectors that are cut to their first `size` numbers; None: whole."""
    first_ND = predict_ids(model, pairs.ids, pad_id=pad_id)[EMBEDDING_OUTPUT]
    second_ND = predict_ids(model, pairs.positive_ids, pad_id=pad_id)[EMBEDDING_OUTPUT]
    return {size: cosines(first_ND[:, :size], second_ND[:, :size]) for size in sizes}
