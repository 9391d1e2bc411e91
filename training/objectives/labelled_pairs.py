"""Texts of one label shall be near each other, those of different labels apart.

Pairs of rows of one label are drawn step by step, a pure function of (seed, epoch, step): there is never a list of
them, which grows with the square of the rows and filled memories elsewhere before the first step (setfit issues 472 and
628). N rows, B pairs of a batch, D dimensions.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray

from app.bundle.manifest import EMBEDDING_OUTPUT
from app.bundle.scoring import unit
from training.data.collate import Batches
from training.data.rows import Row
from training.evaluate import predict_ids
from training.losses.contrastive import in_batch_negatives, supervised_contrastive
from training.metrics import accuracy
from training.modeling.model import Model
from training.objectives.encoding import encode_rows
from training.parallel import gathered
from training.recipe.losses import LossTable

METRIC = "nearest_mean_accuracy"
PART_ROWS = 32


@dataclass(frozen=True, slots=True)
class LabelledPairs:
    """Pairs of labelled rows; pair number i · N + j is row i with row j. Dev metric: how often the nearest class mean
    is that of the right label.
    """

    labelled: Sequence[Row]
    ids: Sequence[Sequence[int]]
    targets: Sequence[int]
    dev_ids: Sequence[Sequence[int]]
    dev_targets: Sequence[int]
    pad_id: int
    table: LossTable

    @property
    def metric(self) -> str | None:
        """None: there are no dev rows."""
        return METRIC if self.dev_ids else None

    @property
    def rows(self) -> Sequence[Row]:
        """The pairs, by their numbers."""
        return PairRows(self.labelled)

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each row that a pair is drawn for."""
        return [len(row) for row in self.ids]

    def batches(self, batch_size: int, *, seed: int) -> Batches:
        """The numbers of the pairs of each step."""
        return PairBatches(self.targets, batch_size, seed=seed)

    def loss(self, model: Model, indices: Sequence[int]) -> torch.Tensor:
        """The loss of these pairs. Rows of one label are no negatives of each other."""
        pairs = [divmod(index, len(self.ids)) for index in indices]
        anchors, partners = zip(*pairs, strict=True)
        vectors_BD = self._vectors(model, [*anchors, *partners])
        # A loss that compares rows takes those of all processes.
        targets_B = gathered(torch.tensor([self.targets[row] for row in anchors], device=model.device))
        queries_BD, candidates_BD = (gathered(side_BD) for side_BD in vectors_BD.chunk(2))
        if self.table.name == "supervised_contrastive":
            both_BD = torch.cat([queries_BD, candidates_BD])
            return supervised_contrastive(both_BD, targets_B.repeat(2), temperature=self.table.temperature)
        same_BB = targets_B[:, None] == targets_B[None]
        return in_batch_negatives(queries_BD, candidates_BD, scale=self.table.scale, also_right_BK=same_BB)

    def _vectors(self, model: Model, rows: Sequence[int]) -> torch.Tensor:
        """The vectors of these rows, in parts of like length: a batch drawn at random is mostly padding as a whole."""
        cached = self.table.cached_rows
        order = sorted(range(len(rows)), key=lambda place: len(self.ids[rows[place]]))
        texts = [self.ids[rows[place]] for place in order]
        parts = [texts] if cached else [texts[start : start + PART_ROWS] for start in range(0, len(texts), PART_ROWS)]
        vectors = [encode_rows(model, part, self.pad_id, cached_rows=cached) for part in parts]
        return torch.cat(vectors)[torch.tensor(order).argsort()]

    def score(self, model: Model) -> Mapping[str, float]:
        """How often the nearest mean of a label's train vectors is the right one, on dev; vectors have length 1."""
        if not self.dev_ids:
            return {}
        train_ND, dev_MD = (
            unit(predict_ids(model, ids, pad_id=self.pad_id)[EMBEDDING_OUTPUT]) for ids in (self.ids, self.dev_ids)
        )
        means_CD = _means(train_ND, np.array(self.targets))
        found_M = (dev_MD @ means_CD.T).argmax(axis=1)
        return {METRIC: accuracy(np.array(self.dev_targets), found_M)}


class PairRows(Sequence[Row]):
    """The N² pairs of N rows as rows; each is made when it is asked for."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        """N²."""
        return len(self._rows) ** 2

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        """The pair with this number; `where` names both rows."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        one, other = (self._rows[number] for number in divmod(index, len(self._rows)))
        return Row(one.text, f"{one.where} with {other.where}", label=one.label, positive=other.text)


class PairBatches(Batches):
    """Each row once an epoch, in an order of its own, with another row of its label; one that is alone goes with
    itself, whose two vectors differ by dropout (arXiv:2104.08821).

    Args:
        targets: the label of each row.
        batch_size: pairs of a batch.
        seed: of the run.
    """

    def __init__(self, targets: Sequence[int], batch_size: int, *, seed: int) -> None:
        super().__init__([1] * len(targets), batch_size, seed=seed)  # not by length: that would choose the negatives
        self._seed = seed
        self._targets = targets
        self._rows_of: dict[int, list[int]] = defaultdict(list)
        self._place: list[int] = []  # of each row among those of its label
        for row, target in enumerate(targets):
            self._place.append(len(self._rows_of[target]))
            self._rows_of[target].append(row)

    def batch(self, epoch: int, step: int) -> list[int]:
        """The numbers of the pairs of step `step` of epoch `epoch`, both counted from 0."""
        draws = random.Random(f"{self._seed}:{epoch}:{step}:pairs")
        return [row * len(self._targets) + self._partner(row, draws) for row in super().batch(epoch, step)]

    def _partner(self, row: int, draws: random.Random) -> int:
        rows = self._rows_of[self._targets[row]]
        if len(rows) == 1:
            return row
        place = draws.randrange(len(rows) - 1)
        return rows[place + (place >= self._place[row])]


def _means(vectors_ND: NDArray[np.float32], targets_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """The mean of each label's vectors, of length 1."""
    return unit(np.stack([vectors_ND[targets_N == label].mean(axis=0) for label in range(int(targets_N.max()) + 1)]))
