"""Several heads on one encoder: what do they learn together?

Heads that read the same rows learn from one forward pass over them; every other head has rows of its own. A step takes
a batch of each set of rows, and its loss is the sum of the heads' losses times their weights. An epoch is one pass over
the longest set: the shorter ones begin again, so that no row goes unseen and each step hears every head. The best epoch
is that with the best mean of the heads' own dev metrics, by the same weights.

Rows are numbered through all sets. B rows of a batch, N rows of a set.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from training.data.collate import Batches, Item, pad
from training.data.rows import Row
from training.evaluate import predict_ids
from training.modeling.model import Model
from training.objectives.supervised import Floats, Lesson

MEAN = "mean_of_heads"


@dataclass(frozen=True, slots=True)
class Pupil:
    """A head that learns: `places` [N] are the numbers of its lesson's targets by row, -1 for a row that tells it
    nothing.
    """

    name: str
    weight: float
    lesson: Lesson
    places: torch.Tensor
    dev_ids: Sequence[Item]


@dataclass(frozen=True, slots=True)
class RowSet:
    """Tokenised rows, and the heads that read them."""

    rows: Sequence[Row]
    ids: Sequence[Item]
    pupils: Sequence[Pupil]

    def loss(self, model: Model, indices: Sequence[int], pad_id: int) -> torch.Tensor:
        """The mean over the rows of what their heads lose, times the heads' weights."""
        outputs = model(*pad([self.ids[index] for index in indices], pad_id, device=model.device))
        total = torch.zeros((), device=model.device)
        for pupil in self.pupils:
            places_B = pupil.places[list(indices)]
            told_B = places_B >= 0
            if not told_B.any():
                continue
            told = {name: values[told_B.to(model.device)] for name, values in outputs.items()}
            targets = pupil.lesson.targets[places_B[told_B]].to(model.device)
            share = float(told_B.float().mean())
            total = total + pupil.weight * share * pupil.lesson.loss(told, targets)
        return total


class JointBatches:
    """A batch of each set a step, one after another: a pure function of (seed, epoch, step), like `Batches`."""

    def __init__(self, lengths: Sequence[Sequence[int]], batch_size: int, *, seed: int) -> None:
        self._sets = [Batches(part, batch_size, seed=seed) for part in lengths]
        self._starts = _starts([len(part) for part in lengths])
        self.steps = max(part.steps for part in self._sets)

    def batch(self, epoch: int, step: int) -> list[int]:
        """The rows of step `step` of epoch `epoch`, both counted from 0."""
        done = epoch * self.steps + step
        found = []
        for start, part in zip(self._starts, self._sets, strict=True):
            found += [start + row for row in part.batch(*divmod(done, part.steps))]
        return found


@dataclass(frozen=True, slots=True)
class Joint:
    """The objective of several heads."""

    sets: Sequence[RowSet]
    pad_id: int
    metric: str = MEAN

    @property
    def rows(self) -> Sequence[Row]:
        """Those of all sets."""
        return [row for part in self.sets for row in part.rows]

    def batches(self, batch_size: int, *, seed: int) -> JointBatches:
        """`batch_size` rows of each set a step."""
        return JointBatches([[len(ids) for ids in part.ids] for part in self.sets], batch_size, seed=seed)

    def loss(self, model: Model, indices: Sequence[int]) -> torch.Tensor:
        """The sum over the sets of the mean loss of their rows. Each row counts alike, so that the loss of a batch is
        the mean of those of its parts; where a set's batch is smaller than the others', it counts less.
        """
        parts = [part.loss(model, rows, self.pad_id) * len(rows) for part, rows in self._by_set(indices)]
        return torch.stack(parts).sum() * (len(self.sets) / len(indices))

    def _by_set(self, indices: Sequence[int]) -> Iterator[tuple[RowSet, list[int]]]:
        starts = _starts([len(part.rows) for part in self.sets])
        for number, (start, part) in enumerate(zip(starts, self.sets, strict=True)):
            if rows := [index - start for index in indices if bisect_right(starts, index) - 1 == number]:
                yield part, rows

    def score(self, model: Model) -> Mapping[str, float]:
        """The figures of each head with its name, their dev loss as the losses are summed, and `mean_of_heads`."""
        figures: dict[str, float] = {}
        mean = loss = weights = 0.0
        for pupil, outputs in self._answers(model):
            found = pupil.lesson.score(outputs, pupil.lesson.dev_targets)
            mean += pupil.weight * found[pupil.lesson.metric]
            loss += pupil.weight * found["dev_loss"]
            weights += pupil.weight
            figures |= {f"{key}_{pupil.name}": value for key, value in found.items()}
        return {MEAN: mean / weights, "dev_loss": loss, **figures}

    def _answers(self, model: Model) -> Iterator[tuple[Pupil, Floats]]:
        """What each head gives to its dev rows; heads of the same rows share one run."""
        for part in self.sets:
            ids: Sequence[Item] = []
            for pupil in part.pupils:
                if pupil.dev_ids != ids:
                    ids, outputs = pupil.dev_ids, predict_ids(model, pupil.dev_ids, pad_id=self.pad_id)
                yield pupil, outputs[pupil.lesson.output]


def _starts(sizes: Sequence[int]) -> list[int]:
    """The number of the first row of each set."""
    return [0, *accumulate(sizes)][:-1]
