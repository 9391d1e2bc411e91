"""One tiny encoder with a head, exported once; the tests spoil copies of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, EmbedHead
from tests.data.make_tiny import HIDDEN, TEMPLATES, make_sources
from training.export.onnx import ExportedGraph, export_graph, torchscript
from training.export.parity import Reference, Shipped
from training.modeling import ClassifierHead, LoadedEncoder, Model, load_encoder
from training.recipe.encoder import EncoderTable
from training.rng import seed_all
from training.signals import signal_stack_kept

LABELS = sorted(TEMPLATES)


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """OpenVINO changes where this process takes signals, and other tests send it some."""
    with signal_stack_kept():
        yield


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tiny-bert`, `sentences.jsonl` and `tiny.toml`."""
    folder = tmp_path_factory.mktemp("sources")
    make_sources(folder)
    return folder


@pytest.fixture(scope="session")
def loaded(sources: Path) -> LoadedEncoder:
    return load_encoder(EncoderTable(source=str(sources / "tiny-bert")))


@pytest.fixture(scope="session")
def model(loaded: LoadedEncoder) -> Model:
    """The right model. Nobody changes it."""
    seed_all(1)
    return Model(loaded.encoder, {"intent": ClassifierHead(HIDDEN, len(LABELS), dropout=0.5)}).eval()


@pytest.fixture(scope="session")
def reference(model: Model, loaded: LoadedEncoder) -> Reference:
    return Reference(model, loaded.tokenizer, loaded.max_tokens, loaded.pad_id)


@pytest.fixture(scope="session")
def heads() -> list[ClassifyHead | EmbedHead]:
    return [
        ClassifyHead(name="intent", output="logits_intent", problem_type="single_label", labels=LABELS),
        EmbedHead(name="embedding", output=EMBEDDING_OUTPUT, dimensions=HIDDEN),
    ]


@pytest.fixture(scope="session")
def graph(model: Model, loaded: LoadedEncoder) -> ExportedGraph:
    """Made in the quickest way; the other ways have tests of their own."""
    return export_graph(model, torchscript, max_tokens=loaded.max_tokens)


@pytest.fixture(scope="session")
def shipped(graph: ExportedGraph, loaded: LoadedEncoder, heads: list[ClassifyHead | EmbedHead]) -> Shipped:
    """What passes the gate."""
    return Shipped(graph.data, loaded.tokenizer.to_str().encode(), heads)
