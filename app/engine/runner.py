"""How does one batch run?

Rows are padded on the right to the longest of the batch (app/bundle/feeding.py). The fp32 graph is used as the gate
saw it. On CUDA, inputs and outputs are bound to the device and come back in one copy each. B rows.
"""

from collections.abc import Mapping, Sequence

import onnxruntime as ort

from app.bundle.feeding import Feeds, feeder
from app.bundle.manifest import Manifest
from app.engine.session import Device, create_session
from app.types import Item, Rows


class OrtRunner:
    """One model file in one ONNX Runtime session. `run` may be called from several threads at once."""

    def __init__(self, manifest: Manifest, model: bytes, device: Device, *, threads: int = 1) -> None:
        self._session = create_session(model, device, threads=threads)
        self._device = device
        self._feeds = feeder([tensor.name for tensor in manifest.inputs], manifest.pad_id)
        self._outputs = [tensor.name for tensor in manifest.outputs]

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        """Each graph output as float32 [B, D], row i for `rows[i]`."""
        feeds = self._feeds(rows)
        if self._device == "cuda":
            return self._run_bound(feeds)
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))

    def _run_bound(self, feeds: Feeds) -> Mapping[str, Rows]:
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
        for name in self._outputs:
            binding.bind_output(name, "cuda")
        self._session.run_with_iobinding(binding)
        return dict(zip(self._outputs, binding.copy_outputs_to_cpu(), strict=True))
