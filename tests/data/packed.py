"""A tiny packed graph with random weights. Needs no torch, so it also stands where only the service is installed."""

from onnx import ModelProto

from app.bundle.manifest import Pooling
from training.export.packed.graph import PackedPrecision, build_graph
from training.export.packed.weights import draw

MAX_TOKENS = 64


def tiny_packed(precision: PackedPrecision = "fp32", *, pooling: Pooling = "mean") -> ModelProto:
    """Two layers of 32."""
    weights = draw(layers=2, hidden=32, heads=4, vocabulary=400, max_tokens=MAX_TOKENS, pooling=pooling)
    return build_graph(weights, precision)
