"""What does a bundle answer to texts, or rows of numbers? By its own tokenizer.json and graph, in ONNX Runtime."""

from collections.abc import Sequence

from app.bundle.open import Bundle
from app.bundle.tokenizer import load_tokenizer
from training.data.collate import Input, encode
from training.export.compare import Outputs
from training.export.parity import GraphRunner
from training.progress import Progress


def graph_outputs(bundle: Bundle, inputs: Sequence[Input], progress: Progress, verb: str = "judging") -> Outputs:
    """Every output for the inputs, by the bundle's own tokenizer and fp32 graph; over-long ones are cut at the end."""
    manifest = bundle.manifest
    model_file = manifest.model_file("fp32")
    assert model_file is not None  # the manifest's own validator guarantees it
    reader = manifest.vectors or load_tokenizer(bundle.read(manifest.file("tokenizer")))
    runner = GraphRunner(bundle.read(model_file), manifest.pad_id)
    with progress.step(f"{verb} {manifest.name}@{manifest.version}"):
        return runner.run_sorted(encode(reader, inputs, manifest.max_tokens), "the rows")
