"""How does one batch run?

Rows are padded on the right to the longest of the batch. The fp32 graph is used as the gate saw it. On CUDA, inputs
and outputs are bound to the device and come back in one copy each. B rows, T tokens of the longest row.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from app.bundle.manifest import Manifest
from app.engine.session import Device, create_session
from app.types import Ids, Rows


class OrtRunner:
    """One model file in one ONNX Runtime session. `run` may be called from several threads at once."""

    def __init__(self, manifest: Manifest, model: bytes, device: Device, *, threads: int = 1) -> None:
        self._session = create_session(model, device, threads=threads)
        self._device = device
        self._inputs = [tensor.name for tensor in manifest.inputs]
        self._outputs = [tensor.name for tensor in manifest.outputs]
        self._pad_id = manifest.pad_id

    def run(self, rows: Sequence[Ids]) -> Mapping[str, Rows]:
        """Each graph output as float32 [B, D], row i for `rows[i]`."""
        feeds = pad(rows, self._pad_id, self._inputs)
        if self._device == "cuda":
            return self._run_bound(feeds)
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))

    def _run_bound(self, feeds: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Rows]:
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
        for name in self._outputs:
            binding.bind_output(name, "cuda")
        self._session.run_with_iobinding(binding)
        return dict(zip(self._outputs, binding.copy_outputs_to_cpu(), strict=True))


def pad(rows: Sequence[Ids], pad_id: int, inputs: Sequence[str], length: int = 0) -> dict[str, NDArray[np.int64]]:
    """The graph's inputs for `rows`, by name, int64 [B, T]; T is the longest row's, or `length` where that is more."""
    longest = max(length, *(len(row) for row in rows))
    ids_BT = np.full((len(rows), longest), pad_id, np.int64)
    mask_BT = np.zeros((len(rows), longest), np.int64)
    for index, row in enumerate(rows):
        ids_BT[index, : len(row)] = row
        mask_BT[index, : len(row)] = 1
    arrays = {"input_ids": ids_BT, "attention_mask": mask_BT}
    if "token_type_ids" in inputs:
        arrays["token_type_ids"] = np.zeros_like(ids_BT)
    return arrays
