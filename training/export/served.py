"""What does a bundle answer to texts? Its own tokenizer.json and graph, in ONNX Runtime, as callers get it."""

from collections.abc import Sequence

from app.bundle.open import Bundle
from app.bundle.tokenizer import load_tokenizer
from training.data.collate import encode
from training.export.compare import Outputs
from training.export.parity import GraphRunner
from training.progress import Progress


def graph_outputs(bundle: Bundle, texts: Sequence[str], progress: Progress, verb: str = "judging") -> Outputs:
    """Every output for texts, by the bundle's own tokenizer and fp32 graph; over-long texts are cut at their end."""
    manifest = bundle.manifest
    model_file = manifest.model_file("fp32")
    assert model_file is not None  # the manifest's own validator guarantees it
    tokenizer = load_tokenizer(bundle.read(manifest.file("tokenizer")))
    runner = GraphRunner(bundle.read(model_file), manifest.pad_id)
    with progress.step(f"{verb} {manifest.name}@{manifest.version}"):
        return runner.run_sorted(encode(tokenizer, texts, manifest.max_tokens), "the texts")
