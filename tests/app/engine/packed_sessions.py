"""Sessions that keep the PackedSession protocol without a GPU."""

import threading
from collections.abc import Callable, Mapping

import numpy as np
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from app.bundle.packed import PackedSpec
from app.bundle.packing import Packed, Shape, feeds
from app.engine.cuda_session import NO_GRAPH
from app.types import Rows
from training.export.packed.operators import operators

Fault = Callable[[Packed, int], None]


class ReferenceSession:
    """Executes the graph with the reference operators; remembers what it ran, and on which thread.

    `fault` may raise, as a device does. A graph id that comes with another shape than its first is an error, as a
    captured graph would answer wrongly.
    """

    def __init__(self, model: ModelProto, spec: PackedSpec, *, fault: Fault | None = None) -> None:
        self._evaluator = ReferenceEvaluator(model, new_ops=operators())
        self._spec, self._fault = spec, fault
        self._captured: dict[int, Shape] = {}
        self.ran: list[tuple[Shape, int]] = []
        self.threads: set[int] = set()

    def run(self, batch: Packed, graph_id: int) -> Mapping[str, Rows]:
        self.threads.add(threading.get_ident())
        self.ran.append((batch.shape, graph_id))
        if graph_id != NO_GRAPH:
            assert self._captured.setdefault(graph_id, batch.shape) == batch.shape
        if self._fault is not None:
            self._fault(batch, graph_id)
        names = list(self._spec.outputs)
        found = self._evaluator.run(names, feeds(batch, self._spec))
        return {name: np.array(values[: batch.rows]) for name, values in zip(names, found, strict=True)}
