"""What is there to judge, and what comes out?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.bundle.manifest import ClassifyHead
from training.calibrate import Fitted, head_of
from training.data.collate import encode
from training.data.rows import Row, Splits
from training.evaluate import predict
from training.modeling import LoadedEncoder, Model
from training.recipe.heads import ClassifyTask, EmbedTask

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Judged:
    """What came out. `report`: files of the bundle by path; `private`: those that hold texts and stay with the run."""

    fitted: Fitted
    metrics: dict[str, object]
    report: dict[str, bytes]
    private: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Taught:
    """One head of a finished model: what it is, the data it has learned, what was fitted, and its figures on test.

    `splits` is None, and the figures are none, where nothing was learned.
    """

    table: EmbedTask | ClassifyTask
    splits: Splits | None = None
    fitted: Fitted = field(default_factory=Fitted)
    metrics: Mapping[str, object] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """In the order of the logits."""
        return self.splits.labels if self.splits else []


def metrics_of(heads: Sequence[Taught]) -> dict[str, object]:
    """The figures of a model: those of its primary head, and under `heads` those of the others by name."""
    first, *others = heads
    by_name = {head.table.name: dict(head.metrics) for head in others}
    return {**first.metrics, **({"heads": by_name} if by_name else {})}


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """A head that gives labels on a trained model, and its data."""

    task: ClassifyTask
    model: Model
    loaded: LoadedEncoder
    splits: Splits

    def outputs(self, rows: Sequence[Row]) -> Mapping[str, Floats]:
        """The model's outputs by name, row by row."""
        loaded, inputs = self.loaded, [row.input for row in rows]
        return predict(self.model, loaded.reader, inputs, max_tokens=loaded.max_tokens, pad_id=loaded.pad_id)

    def lengths(self, rows: Sequence[Row]) -> NDArray[np.int64]:
        """Tokens of each row, as the model reads it."""
        loaded = self.loaded
        return np.array([len(ids) for ids in encode(loaded.reader, [row.input for row in rows], loaded.max_tokens)])

    def head(self, fitted: Fitted) -> ClassifyHead:
        """As the manifest will have it, with what is fitted so far."""
        return head_of(self.task, self.splits.labels, fitted)
