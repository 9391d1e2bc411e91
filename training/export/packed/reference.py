"""What does a packed graph give, without a GPU?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from app.bundle.packed import PackedSpec
from app.bundle.packing import Shape, dummies, feeds, pack
from training.export.packed.operators import Watch, operators

Floats = NDArray[np.float32]
Rows = Sequence[Sequence[int]]


class PackedReference:
    """A packed graph, executed by reference implementations of its operators.

    Args:
        watchers: hear the name of each value and what it was before it was rounded to the graph's precision.
    """

    def __init__(self, model: ModelProto, spec: PackedSpec, *watchers: Watch) -> None:
        self._evaluator = ReferenceEvaluator(model, new_ops=operators(*watchers))
        self._spec = spec

    def run(self, rows: Rows, shape: Shape | None = None) -> dict[str, Floats]:
        """Every output, row i for `rows[i]`. `shape`: as large as `rows` need unless given."""
        shape = tight(rows) if shape is None else shape
        batch = pack([np.asarray(row, np.int32) for row in rows], shape, self._spec)
        names = list(self._spec.outputs)
        found = self._evaluator.run(names, feeds(batch, self._spec))
        return {name: values[: len(rows)] for name, values in zip(names, found, strict=True)}


def tight(rows: Rows) -> Shape:
    """No room for anything else."""
    lengths = [len(row) for row in rows]
    return Shape(sum(lengths), len(rows), max(lengths))


def roomy(rows: Rows, *, tail: int, empty: int) -> Shape:
    """A tail that dummy sequences cover, and `empty` sequences behind them."""
    shape = tight(rows)
    return Shape(shape.tokens + tail, len(rows) + dummies(tail, shape.longest) + empty, shape.longest)
