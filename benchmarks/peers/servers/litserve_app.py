"""The bundle's own ONNX file in ONNX Runtime behind LitServe, with LitServe's batching.

Run in an environment of its own: python litserve_app.py MODEL.onnx TOKENIZER.json PORT.
"""

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]  # in the environment of its own
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

MAX_TOKENS = 256
MAX_BATCH, BATCH_TIMEOUT_S = 16, 0.005  # of 8, 16 and 32, and 2, 5 and 10 ms, about the fastest at 32 clients


class Embed(litserve.LitAPI):  # type: ignore[misc]  # its base is unknown where this is checked
    """One text a request; batches are formed by LitServe."""

    def setup(self, device: str) -> None:
        """Open the model in the worker process."""
        self.session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
        self.names = [tensor.name for tensor in self.session.get_inputs()]
        self.tokenizer = Tokenizer.from_file(sys.argv[2])
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.enable_padding()

    def decode_request(self, request: dict[str, Any]) -> str:
        """The text of a request."""
        return str(request["text"])

    def predict(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors of a batch."""
        encodings = self.tokenizer.encode_batch(texts)
        arrays = {
            "input_ids": np.array([one.ids for one in encodings], np.int64),
            "attention_mask": np.array([one.attention_mask for one in encodings], np.int64),
        }
        arrays["token_type_ids"] = np.zeros_like(arrays["input_ids"])
        vectors: NDArray[np.float32] = self.session.run(None, {name: arrays[name] for name in self.names})[0]
        scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return scaled

    def encode_response(self, vector: NDArray[np.float32]) -> dict[str, Any]:
        """The answer to one request."""
        return {"embeddings": [vector.tolist()]}


if __name__ == "__main__":
    api = Embed(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S, api_path="/embed")
    litserve.LitServer(api, accelerator="cpu", timeout=60).run(
        host="127.0.0.1", port=int(sys.argv[3]), generate_client_file=False
    )
