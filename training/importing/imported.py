"""What is brought in? A model with its classifiers, and what a person should know of how it was read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.bundle.manifest import ClassifyHead
from training.export.onnx import ExportedGraph
from training.modeling import LoadedEncoder, Model

HEAD = "label"  # the name of a source's classifier, as of a recipe's that gives none


@dataclass(frozen=True, slots=True)
class Imported:
    """A model in evaluation mode, float32, on the CPU. `notes` are lines for people; `graphs` are ways to
    the bundle's graph, the best first, of what is a graph already.
    """

    model: Model
    loaded: LoadedEncoder
    heads: Sequence[ClassifyHead] = ()
    notes: Sequence[str] = ()
    graphs: Callable[[], Iterator[ExportedGraph]] | None = None
