"""What is brought in? A model with its classifiers, and what a person should know of how it was read."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.bundle.manifest import ClassifyHead
from training.modeling import LoadedEncoder, Model


@dataclass(frozen=True, slots=True)
class Imported:
    """A model in evaluation mode, float32, on the CPU. `notes` are lines for people."""

    model: Model
    loaded: LoadedEncoder
    heads: Sequence[ClassifyHead] = ()
    notes: Sequence[str] = ()
