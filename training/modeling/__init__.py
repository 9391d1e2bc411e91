"""What is the network? An encoder that ends in one vector a text, and heads on top of it."""

from training.modeling.encoder import Encoder, LoadedEncoder, load_encoder
from training.modeling.heads import ClassifierHead
from training.modeling.model import Model, logits_name

__all__ = ["ClassifierHead", "Encoder", "LoadedEncoder", "Model", "load_encoder", "logits_name"]
