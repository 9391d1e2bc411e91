"""How does a batch run on a GPU without padding?

Callers pack their batches on their own threads, in numpy; one thread owns the device, so that while it waits for one
batch the next is being packed. Small batches replay CUDA graphs that were captured at start, largest first, before
anything else used the device; large ones are launched kernel by kernel. Where graphs cannot be captured, everything is.

Invariants: row i of every output answers row i of the call; a vector that is not finite never leaves; after a CUDA
error that this process cannot recover from, every call raises `DeviceLostError`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from app.bundle.packed import PackedSpec
from app.bundle.packing import Packed, Shape, pack
from app.engine.cuda_buckets import GraphIndex, Limits, eager_shape, graph_shapes, split
from app.engine.cuda_errors import DeviceLostError, device_errors, first_line, is_device_lost
from app.engine.cuda_session import NO_GRAPH, PackedSession
from app.types import Item, Rows

log = logging.getLogger(__name__)

OpenSession = Callable[[bool], PackedSession]  # whether it captures graphs → the session

CAPTURE_RUNS = 3  # ONNX Runtime captures on the third run of a graph id, after two that reserve memory


class NotFiniteError(Exception):
    """The model gave something that is not a number: half precision does not hold for this text."""


class PackedRunner:
    """One packed graph on one GPU. Keeps `app.types.Runner`: `run` may be called from several threads at once.

    Args:
        open_session: called on the thread that will use the session, again without graphs if they cannot be captured.
        graphs: capture graphs for small batches.

    Raises:
        DeviceLostError: the device cannot be used by this process any more. Else whatever `open_session` raises.
    """

    def __init__(self, spec: PackedSpec, limits: Limits, open_session: OpenSession, *, graphs: bool = True) -> None:
        self._spec, self._limits = spec, limits
        self._open_session = open_session
        self._index = GraphIndex([])
        self._lost: str | None = None  # why, once the device is gone
        self._gpu = ThreadPoolExecutor(1, thread_name_prefix="gpu")
        try:
            self._session = self._gpu.submit(self._start, graphs).result()
        except BaseException:
            self._gpu.shutdown()
            raise

    @property
    def has_graphs(self) -> bool:
        """Whether small batches replay captured graphs."""
        return self._index.find(1, 1, 1) is not None

    def computed_tokens(self, lengths: Sequence[int]) -> int:
        """How many tokens a batch of these lengths makes the device compute: its own and the tails."""
        runs = split(lengths, self._limits)
        return sum(self._place([lengths[place] for place in places])[0].tokens for places in runs)

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        """See `app.types.Runner`.

        Raises:
            DeviceLostError: this process has to end. NotFiniteError: a row's output is no number; alone in its batch
                it is that row's fault. ValueError: a row without tokens, or longer than the model takes.
        """
        lengths = [len(row) for row in rows]
        outputs = {name: np.empty((len(rows), width), np.float32) for name, width in self._spec.outputs.items()}
        runs: list[tuple[list[int], Future[Mapping[str, Rows]]]] = []
        for places in split(lengths, self._limits):
            shape, graph_id = self._place([lengths[place] for place in places])
            batch = pack([rows[place] for place in places], shape, self._spec)
            runs.append((places, self._gpu.submit(self._run, batch, graph_id)))
        for places, run in runs:
            for name, found in run.result().items():
                outputs[name][places] = found
        if not all(np.isfinite(values).all() for values in outputs.values()):
            raise NotFiniteError(f"the model gave numbers that are not finite in a batch of {len(rows)} rows")
        return outputs

    def close(self) -> None:
        """Give the device back."""
        self._gpu.shutdown()
        del self._session

    def _place(self, lengths: Sequence[int]) -> tuple[Shape, int]:
        found = self._index.find(sum(lengths), len(lengths), max(lengths))
        return (eager_shape(lengths), NO_GRAPH) if found is None else found

    # On the GPU's thread ---------------------------------------------------------------------------------------------

    def _start(self, graphs: bool) -> PackedSession:
        with device_errors():
            session = self._open_session(graphs)
            self._warm(session)
            if graphs and not self._captured(session):
                del session  # its memory goes back before the next one asks
                session = self._open_session(False)
                self._warm(session)
            return session

    def _warm(self, session: PackedSession) -> None:
        """The largest run first: the arena takes its final size before graphs are captured over it."""
        rows = [self._limits.longest] * min(
            self._limits.tokens // self._limits.longest, self._limits.slots // self._limits.longest - 1
        )
        shape = eager_shape(rows)
        for _ in range(CAPTURE_RUNS):
            session.run(self._dummy(shape), NO_GRAPH)

    def _captured(self, session: PackedSession) -> bool:
        """Capture a graph for every shape; False, and a line in the log, if one cannot be."""
        shapes = graph_shapes(self._limits)
        for graph_id, shape in enumerate(shapes):
            try:
                for _ in range(CAPTURE_RUNS):
                    session.run(self._dummy(shape), graph_id)
            except Exception as error:  # the runtime raises its own types
                if is_device_lost(error):
                    raise
                log.warning("no CUDA graph of %s, so none at all: %s", shape, first_line(error))
                return False
        self._index = GraphIndex(shapes)
        log.info("captured %d CUDA graphs of up to %d tokens", len(shapes), shapes[0].tokens)
        return True

    def _dummy(self, shape: Shape) -> Packed:
        """A batch of padding alone: one row, and dummies for the rest."""
        length = min(shape.tokens, shape.longest, self._spec.max_tokens)
        return pack([np.full(length, self._spec.pad_id, np.int32)], shape, self._spec)

    def _run(self, batch: Packed, graph_id: int) -> Mapping[str, Rows]:
        if self._lost is not None:
            raise DeviceLostError(self._lost)
        try:
            with device_errors():
                return self._session.run(batch, graph_id)
        except DeviceLostError as error:
            self._lost = str(error)
            raise
