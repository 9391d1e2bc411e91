"""What does a run teach, and how does it tell one epoch from another?

An objective holds the tokenised rows and knows the loss of a batch and the dev metric; the loop knows neither text
nor label. B rows of a batch, D dimensions, N dev rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from app.bundle.manifest import EMBEDDING_OUTPUT
from app.bundle.scoring import unit
from training.calibrate.temperature import negative_log_likelihood
from training.data.collate import encode, pad
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.evaluate import predict_ids
from training.losses import (
    balanced_weights,
    in_batch_negatives,
    per_row_cross_entropy,
    supervised_contrastive,
    triplet,
)
from training.metrics import accuracy, retrieval_ranks
from training.modeling.encoder import LoadedEncoder
from training.modeling.model import Model, logits_name
from training.recipe import LossTable, Recipe


class Objective(Protocol):
    """The seam between the loop and what is learned."""

    @property
    def metric(self) -> str:
        """The key of `score` by which the best epoch is chosen; more is better."""
        ...

    @property
    def rows(self) -> Sequence[Row]:
        """The training rows, so that an error can name them."""
        ...

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each training row."""
        ...

    def loss(self, model: Model, indices: Sequence[int]) -> torch.Tensor:
        """The mean loss of the rows `indices`, as a scalar that can go backward."""
        ...

    def score(self, model: Model) -> Mapping[str, float]:
        """Dev metrics, "dev_loss" among them where there is one. Draws nothing, leaves the model as it was."""
        ...


@dataclass(frozen=True, slots=True)
class Classification:
    """One right label a row; dev metric: accuracy."""

    rows: Sequence[Row]
    ids: Sequence[Sequence[int]]
    targets: Sequence[int]
    dev_ids: Sequence[Sequence[int]]
    dev_targets: Sequence[int]
    output: str
    pad_id: int
    table: LossTable
    weights_C: torch.Tensor | None = None
    metric: str = "accuracy"

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each training row."""
        return [len(row) for row in self.ids]

    def loss(self, model: Model, indices: Sequence[int]) -> torch.Tensor:
        """Cross-entropy of the batch, and its share of the supervised contrastive loss."""
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
        if not table.contrastive_share:
            return loss
        contrastive = supervised_contrastive(outputs[EMBEDDING_OUTPUT], targets_B, temperature=table.temperature)
        return (1 - table.contrastive_share) * loss + table.contrastive_share * contrastive

    def score(self, model: Model) -> Mapping[str, float]:
        """Accuracy and negative log likelihood on dev."""
        logits_NC = predict_ids(model, self.dev_ids, pad_id=self.pad_id)[self.output]
        right_N = np.array(self.dev_targets)
        dev_loss = negative_log_likelihood(logits_NC, right_N, temperature=1.0)
        return {"accuracy": accuracy(right_N, logits_NC.argmax(axis=1)), "dev_loss": dev_loss}


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
    metric: str = "mrr"

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of the longer side of each training pair."""
        return [max(len(a), len(b)) for a, b in zip(self.train.ids, self.train.positive_ids, strict=True)]

    def loss(self, model: Model, indices: Sequence[int]) -> torch.Tensor:
        """The loss of the batch, with cuts the mean over all sizes (arXiv:2205.13147). Positives of rows with the same
        text or positive are no negatives of each other.
        """
        pairs = self.train
        candidates = [pairs.positive_ids[index] for index in indices]
        candidates += [pairs.negative_ids[index] for index in indices if index in pairs.negative_ids]
        texts = [pairs.ids[index] for index in indices]
        queries_BD = model.encoder(*pad(texts, self.pad_id, device=model.device))
        candidates_KD = model.encoder(*pad(candidates, self.pad_id, device=model.device))
        also_right_BK = torch.zeros(len(indices), len(candidates), dtype=torch.bool)
        for row, one in enumerate(indices):
            for column, other in enumerate(indices):
                same = pairs.texts[one] == pairs.texts[other] or pairs.positives[one] == pairs.positives[other]
                also_right_BK[row, column] = same
        also_right_BK = also_right_BK.to(model.device)
        sizes = [*self.cuts, queries_BD.shape[1]]
        parts = [self._compare(queries_BD[:, :size], candidates_KD[:, :size], also_right_BK) for size in sizes]
        return torch.stack(parts).mean()

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


def make_objective(recipe: Recipe, loss: LossTable, splits: Splits, loaded: LoadedEncoder) -> Objective:
    """The objective of a recipe over tokenised rows.

    Raises:
        TrainingError: a split is empty, so nothing can be learned, chosen or judged.
    """
    for name, rows in (("train", splits.train), ("dev", splits.dev), ("test", splits.test)):
        if not rows:
            raise TrainingError(f"the {name} split has no rows; all of train, dev (to choose by) and test need some")
    if recipe.head.task == "embed":
        train, dev = make_pairs(splits.train, loaded), make_pairs(splits.dev, loaded)
        if loss.name == "triplet" and len(train.negative_ids) < len(train.ids):
            row = next(row for row in splits.train if row.negative is None)
            raise TrainingError(f"{row.where}: no negative; the triplet loss needs one in every row")
        return Retrieval(splits.train, train, dev, loaded.pad_id, loss, recipe.head.cuts)
    right = targets(splits.train, splits.labels)
    return Classification(
        rows=splits.train,
        ids=encode(loaded.tokenizer, [row.text for row in splits.train], loaded.max_tokens),
        targets=right,
        dev_ids=encode(loaded.tokenizer, [row.text for row in splits.dev], loaded.max_tokens),
        dev_targets=targets(splits.dev, splits.labels),
        output=logits_name(recipe.head.name),
        pad_id=loaded.pad_id,
        table=loss,
        weights_C=balanced_weights(right, len(splits.labels)) if loss.class_weights == "balanced" else None,
    )


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
    return scores_by_size(model, pairs, pad_id, [None])[None]


def scores_by_size(
    model: Model, pairs: Pairs, pad_id: int, sizes: Sequence[int | None]
) -> dict[int | None, dict[str, float]]:
    """`retrieval_scores` for vectors that are cut to their first `size` numbers; None: whole."""
    queries_ND = predict_ids(model, pairs.ids, pad_id=pad_id)[EMBEDDING_OUTPUT]
    candidates_ND = predict_ids(model, pairs.positive_ids, pad_id=pad_id)[EMBEDDING_OUTPUT]
    scores = {}
    for size in sizes:
        ranks_N = retrieval_ranks(unit(queries_ND[:, :size]), unit(candidates_ND[:, :size]), list(pairs.positives))
        scores[size] = {"mrr": float(np.mean(1.0 / ranks_N)), "recall_at_1": float(np.mean(ranks_N == 1))}
    return scores
