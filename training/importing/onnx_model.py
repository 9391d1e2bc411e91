"""What does the source's own ONNX file answer? The reference that the bundle's graph is held against.

It runs in ONNX Runtime as it came, fed under its own names, and its states are pooled in torch, so nothing of the
rewritten graph has a part in it. For the gate it stands where a torch model does. B rows, T tokens, D values of a
vector.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import onnxruntime as ort
import torch
from torch import nn

from app.bundle.manifest import EMBEDDING_OUTPUT, Pooling
from training.errors import TrainingError
from training.importing.onnx_file import IDS, INTEGERS, MASK, OnnxFile
from training.modeling.base import TextEncoder
from training.modeling.model import Model
from training.modeling.pooling import pool


class OnnxGraph(nn.Module):
    """The source's graph, which nothing but ONNX Runtime runs."""

    def __init__(self, file: OnnxFile) -> None:
        super().__init__()
        options = ort.SessionOptions()
        options.log_severity_level = 4  # its errors come as exceptions
        try:
            self._session = ort.InferenceSession(file.data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common class but Exception
            reason = str(error).strip().splitlines()[0]
            raise TrainingError(f"{file.path}: ONNX Runtime does not open it: {reason}") from error
        self._types = {one.name: INTEGERS[one.type.tensor_type.elem_type] for one in file.model.graph.input}

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, outputs: list[str]) -> list[torch.Tensor]:
        """`outputs` by the source's names; token types are zeros.

        Raises:
            TrainingError: it fails on this shape.
        """
        given = {IDS: ids_BT.numpy(), MASK: mask_BT.numpy()}
        feeds = {name: given.get(name, np.zeros_like(given[IDS])).astype(kind) for name, kind in self._types.items()}
        try:
            found = self._session.run(outputs, feeds)
        except Exception as error:
            shape = "×".join(map(str, ids_BT.shape))
            raise TrainingError(
                f"the source's own graph fails on {shape}: {str(error).strip().splitlines()[0]}"
            ) from error
        return [torch.from_numpy(np.asarray(one, np.float32)) for one in found]


class OnnxEncoder(TextEncoder):
    """What is known of the encoder inside the file. `width` is 0 for a classifier that gives no vector."""

    def __init__(self, file: OnnxFile, pooling: Pooling, *, hidden: int, vocabulary: int) -> None:
        super().__init__()
        self.trunk = OnnxGraph(file)
        self.pooling: Pooling = pooling
        self.after_pooling = nn.Sequential()
        self.hidden = hidden
        self._file, self._vocabulary = file, vocabulary
        self.width = 0 if file.vector is None else self(*_example()).shape[1]

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """[B, D]."""
        if self._file.vector is None:
            return torch.zeros(len(ids_BT), 0)
        (found,) = self.trunk(ids_BT, mask_BT, [self._file.vector])
        vector_BD: torch.Tensor = found if self._file.is_pooled else pool(found, mask_BT, self.pooling)
        return vector_BD

    def weights(self) -> dict[str, torch.Tensor]:
        """The whole file, as bytes: its nodes decide a vector as its tensors do."""
        return {"file": torch.frombuffer(bytearray(self._file.data), dtype=torch.uint8)}

    @property
    def vocabulary(self) -> int:
        """Of its tokenizer: a file does not say which tensor is its table."""
        return self._vocabulary

    @contextmanager
    def exporting(self) -> Iterator[int | None]:
        """A file is exported already."""
        yield None


class OnnxModel(Model):
    """The file under the bundle's names of its outputs."""

    def __init__(self, encoder: OnnxEncoder, logits: Mapping[str, str]) -> None:
        super().__init__(encoder, {})
        self._logits = dict(logits)

    @property
    def device(self) -> torch.device:
        """ONNX Runtime's on the CPU."""
        return torch.device("cpu")

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> dict[str, torch.Tensor]:
        """As Model's; without the vector where the file gives none."""
        vector = {EMBEDDING_OUTPUT: self.encoder(ids_BT, mask_BT)} if self.encoder.width else {}
        found = self.encoder.trunk(ids_BT, mask_BT, list(self._logits.values())) if self._logits else []
        return vector | dict(zip(self._logits, found, strict=True))

    def widths(self) -> dict[str, int]:
        """Values of each output, by name."""
        return {name: found.shape[1] for name, found in self(*_example()).items()}


def _example() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.long)
