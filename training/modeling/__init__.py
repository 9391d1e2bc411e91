"""What is the network? An encoder that ends in one vector a text, and heads on top of it."""

from training.modeling.base import TextEncoder
from training.modeling.encoder import Encoder, LoadedEncoder
from training.modeling.heads import ClassifierHead
from training.modeling.load import load_encoder, ruler_of
from training.modeling.model import Model, logits_name

__all__ = [
    "ClassifierHead",
    "Encoder",
    "LoadedEncoder",
    "Model",
    "TextEncoder",
    "load_encoder",
    "logits_name",
    "ruler_of",
]
