"""How does a batch run on a GPU where there is no packed graph, or it does not hold?

The bundle's float32 graph, in half precision or as it is, over padded batches of a few shapes: attention kernels are
chosen, and some compiled, for each new shape. B rows, T padded tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from app.bundle.feeding import feeder
from app.bundle.manifest import Manifest
from app.engine.cuda_buckets import longest_bucket
from app.engine.cuda_errors import device_errors
from app.engine.cuda_kernels import EFFICIENT, FLASH
from app.engine.session import Device, create_session
from app.types import Item, Rows


class PaddedRunner:
    """One model file over padded batches on a device. `run` may be called from several threads at once."""

    def __init__(self, manifest: Manifest, model: bytes, device: Device, precision: Literal["fp32", "fp16"]) -> None:
        data = half(model) if precision == "fp16" else model
        # Without cuDNN, which compiles a plan for every new shape: 50 ms to 1 s each.
        self._session = create_session(data, device, cuda_options={"sdpa_kernel": FLASH | EFFICIENT})
        self._device = device
        self._feeder = feeder([tensor.name for tensor in manifest.inputs], manifest.pad_id)
        self._outputs = [tensor.name for tensor in manifest.outputs]
        self._max_tokens = manifest.max_tokens

    def run(self, rows: Sequence[Item]) -> Mapping[str, Rows]:
        """See `app.types.Runner`.

        Raises:
            DeviceLostError: this process has to end.
        """
        with device_errors():
            binding = self._session.io_binding()
            for name, array in self._feeds(rows).items():
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, self._device, 0))
            for name in self._outputs:
                binding.bind_output(name, self._device)
            self._session.run_with_iobinding(binding)
            found = binding.copy_outputs_to_cpu()
        return {name: values[: len(rows)] for name, values in zip(self._outputs, found, strict=True)}

    def close(self) -> None:
        """Give the device back."""
        del self._session

    def _feeds(self, rows: Sequence[Item]) -> dict[str, NDArray[np.int64]]:
        """The inputs of `rows` in one of few shapes: a power of two of rows, a step of lengths.

        A dummy row has a token: attention over none would be no number.
        """
        count = 1 << (len(rows) - 1).bit_length()
        longest = max(map(len, rows))
        room = ((0, count - len(rows)), (0, min(longest_bucket(longest), self._max_tokens) - longest))
        arrays = {name: np.pad(array, room) for name, array in self._feeder(rows).items()}
        arrays["attention_mask"][len(rows) :, 0] = 1
        return arrays


def half(model: bytes) -> bytes:
    """A float32 graph with everything but its inputs and outputs in half precision."""
    from onnxruntime.transformers.float16 import convert_float_to_float16  # a second to load; on CUDA only

    converted = convert_float_to_float16(
        onnx.load_model_from_string(model), keep_io_types=True, disable_shape_infer=True
    )
    data: bytes = converted.SerializeToString()
    return data
