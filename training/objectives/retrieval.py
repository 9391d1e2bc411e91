"""Each text shall find its own positive.

B rows of a batch, K candidates, D dimensions, N dev rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from app.bundle.manifest import EMBEDDING_OUTPUT
from app.bundle.scoring import unit
from training.data.collate import Batches, encode
from training.data.rows import Row
from training.errors import TrainingError
from training.evaluate import predict_ids
from training.losses.contrastive import in_batch_negatives, triplet
from training.metrics import retrieval_ranks
from training.modeling.encoder import LoadedEncoder
from training.modeling.model import Model
from training.objectives.encoding import encode_rows
from training.objectives.teacher import Teacher
from training.parallel import everyone, gathered
from training.recipe.losses import LossTable


@dataclass(frozen=True, slots=True)
class Pairs:
    """Tokenised pairs; `negatives` where a row brings one."""

    texts: Sequence[str]
    positives: Sequence[str]
    ids: Sequence[Sequence[int]]
    positive_ids: Sequence[Sequence[int]]
    negative_ids: Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Each text shall find its positive among all others; dev metric: mean reciprocal rank."""

    rows: Sequence[Row]
    train: Pairs
    dev: Pairs
    pad_id: int
    table: LossTable
    cuts: Sequence[int] = ()
    teacher: Teacher | None = None
    metric: str | None = "mrr"

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of the longer side of each training pair."""
        return [max(len(a), len(b)) for a, b in zip(self.train.ids, self.train.positive_ids, strict=True)]

    def batches(self, batch_size: int, *, seed: int) -> Batches:
        """`batch_size` rows a step, of like length."""
        return Batches(self.lengths, batch_size, seed=seed)

    def loss(self, model: Model, indices: Sequence[int]) -> torch.Tensor:
        """The loss of the batch, with cuts the mean over all sizes (arXiv:2205.13147). Positives of rows with the same
        text or positive are no negatives of each other.
        """
        pairs = self.train
        candidates = [pairs.positive_ids[index] for index in indices]
        candidates += [pairs.negative_ids[index] for index in indices if index in pairs.negative_ids]
        texts, cached = [pairs.ids[index] for index in indices], self.table.cached_rows
        queries_BD = encode_rows(model, texts, self.pad_id, cached_rows=cached)
        candidates_KD = encode_rows(model, candidates, self.pad_id, cached_rows=cached)
        if self._compares_rows(queries_BD.shape[1]):
            queries_BD, positives = gathered(queries_BD), len(indices)
            candidates_KD = torch.cat([gathered(candidates_KD[:positives]), gathered(candidates_KD[positives:])])
            indices = everyone(indices)
        also_right_BK = torch.zeros(len(indices), len(candidates_KD), dtype=torch.bool)
        for side in (pairs.texts, pairs.positives):
            also_right_BK[:, : len(indices)] |= _equal([side[index] for index in indices])
        also_right_BK = also_right_BK.to(model.device)
        sizes = [*self.cuts, queries_BD.shape[1]]
        parts = [self._compare(queries_BD[:, :size], candidates_KD[:, :size], also_right_BK) for size in sizes]
        loss = torch.stack(parts).mean()
        if self.teacher is None:
            return loss
        rows = [self.rows[index] for index in indices]
        sides = ((row.text for row in rows), (row.positive for row in rows), (row.negative for row in rows))
        read = [text for side in sides for text in side if text is not None]
        return self.teacher.mixed(loss, torch.cat([queries_BD, candidates_KD]), read, self.cuts)

    def _compares_rows(self, width: int) -> bool:
        """Whether the loss of a row depends on others: but for triplets, and a teacher of the same sizes, it does."""
        teacher = self.teacher
        return self.table.name != "triplet" or (teacher is not None and not {width, *self.cuts} <= teacher.sizes)

    def _compare(
        self, queries_BD: torch.Tensor, candidates_KD: torch.Tensor, also_right_BK: torch.Tensor
    ) -> torch.Tensor:
        if self.table.name == "triplet":
            positives_BD, negatives_BD = candidates_KD[: len(queries_BD)], candidates_KD[len(queries_BD) :]
            return triplet(queries_BD, positives_BD, negatives_BD, margin=self.table.margin)
        return in_batch_negatives(queries_BD, candidates_KD, scale=self.table.scale, also_right_BK=also_right_BK)

    def score(self, model: Model) -> Mapping[str, float]:
        """Retrieval on dev."""
        return retrieval_scores(model, self.dev, self.pad_id)


def _equal(texts: Sequence[str]) -> torch.Tensor:
    """Which texts [B, B] are the same."""
    numbers: dict[str, int] = {}
    numbers_B = torch.tensor([numbers.setdefault(text, len(numbers)) for text in texts])
    return numbers_B[:, None] == numbers_B[None, :]


def make_pairs(rows: Sequence[Row], loaded: LoadedEncoder) -> Pairs:
    """Tokenised pairs.

    Raises:
        TrainingError: a row has no positive.
    """
    positives = []
    for row in rows:
        if row.positive is None:
            raise TrainingError(f"{row.where}: no positive; training an embedder needs pairs")
        positives.append(row.positive)
    numbered = [(number, row.negative) for number, row in enumerate(rows) if row.negative is not None]
    negatives = encode(loaded.tokenizer, [text for _, text in numbered], loaded.max_tokens)
    texts = [row.text for row in rows]
    return Pairs(
        texts=texts,
        positives=positives,
        ids=encode(loaded.tokenizer, texts, loaded.max_tokens),
        positive_ids=encode(loaded.tokenizer, positives, loaded.max_tokens),
        negative_ids={number: ids for (number, _), ids in zip(numbered, negatives, strict=True)},
    )


def retrieval_scores(model: Model, pairs: Pairs, pad_id: int) -> dict[str, float]:
    """Mean reciprocal rank and recall at 1 of each text's positive among all positives of `pairs`."""
    queries_ND, candidates_ND = (
        unit(predict_ids(model, ids, pad_id=pad_id)[EMBEDDING_OUTPUT]) for ids in (pairs.ids, pairs.positive_ids)
    )
    ranks_N = retrieval_ranks(queries_ND, candidates_ND, list(pairs.positives))
    return {"mrr": float(np.mean(1.0 / ranks_N)), "recall_at_1": float(np.mean(ranks_N == 1))}
