"""How does a packed batch get to the device, through the graph, and back?

One copy in, one launch, one copy out. All inputs of a batch lie in one buffer that is updated in place; the graph reads
views of it. Outputs land in buffers that stay. A captured graph replays fixed addresses, which these are. Everything
here belongs to one thread: ONNX Runtime keeps captured graphs by the thread that made them.

T tokens, B sequences, S longest length, W width of an output.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import onnxruntime as ort

from app.bundle.packed import DISTANCE, PackedSpec
from app.bundle.packing import Packed, Shape, distances
from app.engine.cuda_buckets import Limits
from app.engine.session import Device, create_session
from app.types import Rows

NO_GRAPH = -1  # ONNX Runtime's own number for a run that is neither captured nor replayed


class PackedSession(Protocol):
    """The seam between host and device: one packed graph with its buffers, used by one thread."""

    def run(self, batch: Packed, graph_id: int) -> Mapping[str, Rows]:
        """The outputs of the batch's own rows, as arrays that are the caller's.

        A `graph_id` other than `NO_GRAPH` is captured on its first runs and replayed from then on; it always comes with
        the same shape.
        """
        ...


class OrtPackedSession:
    """A packed graph in ONNX Runtime.

    Args:
        kernels: which attention kernels may run, ONNX Runtime's bit mask `sdpa_kernel`.
        graphs: captures CUDA graphs for runs that have a graph id.
    """

    def __init__(
        self, model: bytes, spec: PackedSpec, limits: Limits, device: Device, *, kernels: int, graphs: bool
    ) -> None:
        options = {"sdpa_kernel": kernels, "enable_cuda_graph": int(graphs)}
        self._session = create_session(model, device, cuda_options=options)
        self._spec, self._device, self._graphs = spec, device, graphs
        self._inputs: dict[int, ort.OrtValue] = {}  # by length
        self._distances: dict[int, ort.OrtValue] = {}  # by S
        self._bindings: dict[int, ort.IOBinding] = {}  # by graph id
        self._options: dict[int, ort.RunOptions] = {}
        # Fused attention reads the shape of token_offset and nothing else; which kernel runs is asserted at load.
        self._slots = self._buffer((limits.slots,), np.int32)
        self._slots.update_inplace(np.zeros(limits.slots, np.int32))
        self._outputs = {
            name: self._buffer((limits.sequences * width,), np.float32) for name, width in spec.outputs.items()
        }

    def run(self, batch: Packed, graph_id: int) -> Mapping[str, Rows]:
        """See `PackedSession`."""
        self._input(len(batch.buffer)).update_inplace(batch.buffer)
        binding = self._binding(batch, graph_id)
        self._session.run_with_iobinding(binding, self._run_options(graph_id))
        found = binding.copy_outputs_to_cpu()
        # On the CPU the copy is none: it would change under the caller with the next run.
        rows = [np.array(values[: batch.rows], copy=self._device == "cpu" or None) for values in found]
        return dict(zip(self._spec.outputs, rows, strict=True))

    def _binding(self, batch: Packed, graph_id: int) -> ort.IOBinding:
        """The views of a shape; those of a graph are kept, for it lives as long as they do."""
        binding = self._bindings.get(graph_id)
        if binding is None:
            binding = self._bind(batch)
            if graph_id != NO_GRAPH:
                self._bindings[graph_id] = binding
        return binding

    def _bind(self, batch: Packed) -> ort.IOBinding:
        shape, binding = batch.shape, self._session.io_binding()
        start = self._input(len(batch.buffer)).data_ptr()
        for name, offset in batch.offsets.items():
            size = len(batch.view(name))
            binding.bind_input(name, self._device, 0, np.int32, [size], start + offset * np.dtype(np.int32).itemsize)
        slots = [shape.sequences, shape.longest]
        binding.bind_input("token_offset", self._device, 0, np.int32, slots, self._slots.data_ptr())
        if self._spec.distance:
            binding.bind_ortvalue_input(DISTANCE, self._distance(shape))
        for name, width in self._spec.outputs.items():
            sizes = [shape.sequences, width]
            binding.bind_output(name, self._device, 0, np.float32, sizes, self._outputs[name].data_ptr())
        return binding

    def _input(self, length: int) -> ort.OrtValue:
        if length not in self._inputs:
            self._inputs[length] = self._buffer((length,), np.int32)
        return self._inputs[length]

    def _distance(self, shape: Shape) -> ort.OrtValue:
        if shape.longest not in self._distances:
            values = distances(shape.longest, self._spec)
            self._distances[shape.longest] = self._buffer(values.shape, np.int32)
            self._distances[shape.longest].update_inplace(values)
        return self._distances[shape.longest]

    def _buffer(self, shape: tuple[int, ...], dtype: type[np.generic]) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), dtype, self._device, 0)

    def _run_options(self, graph_id: int) -> ort.RunOptions | None:
        if not self._graphs:
            return None
        if graph_id not in self._options:
            options = ort.RunOptions()
            options.add_run_config_entry("gpu_graph_id", str(graph_id))
            self._options[graph_id] = options
        return self._options[graph_id]
