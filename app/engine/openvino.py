"""How does one batch run in OpenVINO?

One compiled model serves all lanes: it has a stream (a thread of its own, with its own activations) for each, and the
weights once. A run beyond the number of streams waits inside OpenVINO, so a spare lane costs no core and leaves no gap.

Every new shape costs: the first run with it compiles kernels (some 25 ms for int8, and 3 MB that stay), and every run
whose shape is not that of the stream's last one sets the graph up again (2 to 4 ms). So lengths are rounded up to a
multiple of `PAD_TO`, 16 times fewer shapes: against a multiple of 8, sorted batches of 8 cost 0 to 4 % more, single
texts as they come 3 to 10 % less. In int8 it also gives a text the same bits in every batch (adr/0007).

An int8 file is computed in f32 where it is not int8. Left to itself, OpenVINO takes bf16 there on CPUs that have it,
and then the golden rows of an int8 all-MiniLM-L6-v2 alone and in batches differ by as much as a cosine of 0.81.

B rows, D values of one output row.
"""

import functools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal

import openvino as ov

from app.bundle.feeding import feeder
from app.bundle.ir import PAD_TO as PAD_TO
from app.bundle.ir import full_length
from app.bundle.manifest import Manifest
from app.types import Item, Rows

CACHED_KERNELS = 1000  # of all shapes that ran; with OpenVINO's own 5,000, 215 shapes of an int8 file hold 30 % more

Hint = Literal["f32", "bf16"]


class OpenVinoRunner:
    """One model file compiled for some runs side by side. `run` may be called from several threads at once.

    Args:
        model: an ONNX file, or the XML of an IR whose `weights` are given.
        hint: what is computed in where the file says fp32.
        streams: runs side by side; `threads`: of all of them together.
    """

    def __init__(
        self, manifest: Manifest, model: bytes, weights: bytes = b"", *, hint: Hint, streams: int, threads: int
    ) -> None:
        self._feeds = feeder([tensor.name for tensor in manifest.inputs], manifest.pad_id)
        self._outputs = [tensor.name for tensor in manifest.outputs]
        self._max_tokens = manifest.max_tokens
        graph = _core().read_model(model, weights) if weights else _core().read_model(model)
        self._model = _core().compile_model(graph, "CPU", _options(hint, streams, threads))
        self._idle: deque[ov.InferRequest] = deque()  # taken and given back by whichever thread runs

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        """Each graph output as float32 [B, D], row i for `rows[i]`."""
        length = full_length(max(len(row) for row in rows), self._max_tokens)
        feeds = self._feeds(rows, length)
        request = self._take()
        try:
            for name, array in feeds.items():
                request.set_tensor(name, ov.Tensor(array, shared_memory=True))
            request.infer(share_outputs=True)
            return {name: request.get_tensor(name).data.copy() for name in self._outputs}
        finally:
            self._idle.append(request)

    def _take(self) -> ov.InferRequest:
        try:
            return self._idle.pop()
        except IndexError:
            request: ov.InferRequest = self._model.create_infer_request()
            return request


@functools.cache
def _core() -> ov.Core:
    core: ov.Core = ov.Core()
    return core


def _options(hint: Hint, streams: int, threads: int) -> dict[str, object]:
    return {
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": hint,
        "CPU_RUNTIME_CACHE_CAPACITY": CACHED_KERNELS,
        "ENABLE_HYPER_THREADING": True,  # else a machine's second threads are not counted, and lanes wait for streams
        "ENABLE_CPU_PINNING": False,  # front ends share the cores: a pinned thread waits for its core while others idle
    }
