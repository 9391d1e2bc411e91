"""What does a manifest say of a model that was just exported?

Facts only, each from the object that knows it: weights and pooling from the model, labels from the data, figures from
the run, differences from the gate. B rows of a batch, D dimensions, C labels.
"""

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata

import numpy as np
import torch
from tokenizers import Tokenizer

from app.bundle.manifest import (
    EMBEDDING_OUTPUT,
    FORMAT,
    Agreement,
    BundleFile,
    ClassifyHead,
    EmbedHead,
    Golden,
    Json,
    Manifest,
    Parity,
    Tensor,
    Trunk,
    pooling_name,
)
from training.calibrate import Fitted, head_of
from training.data.collate import encode, reader_bytes
from training.data.rows import Row, Splits
from training.export.onnx import ExportedGraph, inputs_of
from training.modeling import LoadedEncoder, Model, TextEncoder
from training.recipe import Recipe
from training.recipe.heads import EmbedTask

MODEL_FILE = "model.fp32.onnx"
TRUNK_HEAD = "embedding"  # the vector that every classifier offers beside its labels
LIBRARIES = ("encodery", "numpy", "onnx", "onnxruntime", "onnxscript", "tokenizers", "torch", "transformers")
LENGTH_BUCKETS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)  # tokens, upper ends

Head = EmbedHead | ClassifyHead


@dataclass(frozen=True, slots=True)
class Finished:
    """A model that is ready to leave torch, and all that is known of it.

    `splits` is None for an import, whose classifiers are `imported`.
    """

    recipe: Recipe
    model: Model
    loaded: LoadedEncoder
    fitted: Fitted
    metrics: Json
    report: Mapping[str, bytes]
    splits: Splits | None
    imported: Sequence[ClassifyHead] = ()
    graphs: Callable[[], Iterator[ExportedGraph]] | None = (
        None  # of a model that is a graph already; None: it is exported
    )

    @property
    def labels(self) -> list[str]:
        """In the order of the logits."""
        return self.splits.labels if self.splits else []


def heads_of(finished: Finished) -> list[Head]:
    """The primary head first; a classifier also offers the vector under its labels."""
    task, width = finished.recipe.head, finished.loaded.encoder.width
    if isinstance(task, EmbedTask):
        if not width:  # somebody else's graph that gives logits alone
            return list(finished.imported)
        vector = EmbedHead(
            name=task.name, output=EMBEDDING_OUTPUT, dimensions=width, cuts=task.cuts, normalize=task.normalize
        )
        return [*finished.imported, vector]
    normalize = finished.loaded.normalize
    return [
        head_of(task, finished.labels, finished.fitted),
        EmbedHead(name=TRUNK_HEAD, output=EMBEDDING_OUTPUT, dimensions=width, normalize=normalize),
    ]


def describe(
    finished: Finished,
    *,
    version: int,
    files: list[BundleFile],
    graph: ExportedGraph,
    parity: Mapping[str, Parity | Agreement],
    refused: Mapping[str, str],
    golden_rows: int,
) -> Manifest:
    """The manifest of one version."""
    loaded, recipe = finished.loaded, finished.recipe
    trunk = Trunk(
        architecture=loaded.architecture,
        source=loaded.source,
        sha256=weights_digest(loaded.encoder.weights()),
        hidden=loaded.encoder.hidden,
    )
    return Manifest(
        format=FORMAT,
        name=recipe.name,
        version=version,
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        modality="text" if loaded.encoder.vectors is None else "vectors",
        vectors=loaded.encoder.vectors,
        trunk=trunk,
        heads=heads_of(finished),
        pooling=loaded.pooling,
        max_tokens=loaded.max_tokens,
        pad_id=loaded.pad_id,
        prompts=loaded.prompts,
        space=space(
            trunk,
            " → ".join([pooling_name(loaded.pooling), *after_pooling(loaded.encoder)]),
            reader_bytes(loaded.reader),
        ),
        inputs=inputs_of(finished.model),
        outputs=_outputs(finished),
        files=files,
        golden=Golden(rows=golden_rows),
        parity=dict(parity),
        fused_ops={MODEL_FILE: dict(graph.fused_ops)},
        metrics=finished.metrics,
        reference=_reference(finished),
        training=_training(finished, graph) | ({"refused": dict(refused)} if refused else {}),
    )


def space(trunk: Trunk, pooling: str, reader: bytes) -> str:
    """The fingerprint of the vector space: what decides which vector a text gets, up to its length.

    Weights, pooling with what follows it, and tokenizer, or the form of numbers, do. Heads, prompts, the limit of
    tokens and whether vectors are normalised do not: two bundles that differ only in those may be mixed in one index.
    """
    parts = (trunk.architecture, trunk.sha256, pooling, hashlib.sha256(reader).hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def after_pooling(encoder: TextEncoder) -> list[str]:
    """What makes another vector of the pooled one: `["Dense(384, 128, Tanh)"]`."""
    return [str(module) for module in encoder.after_pooling]


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """The sha256 of every weight with its name, type and shape, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _outputs(finished: Finished) -> list[Tensor]:
    """In the order of the graph: the vector, then the logits of each head."""
    classifiers = [head for head in heads_of(finished) if isinstance(head, ClassifyHead)]
    vector = {EMBEDDING_OUTPUT: width} if (width := finished.loaded.encoder.width) else {}
    widths = vector | {one.output: len(one.labels) for one in classifiers}
    return [Tensor(name=name, dtype="float32", axes=["batch", size]) for name, size in widths.items()]


def _reference(finished: Finished) -> Json:
    """What the training rows look like, so that other traffic can be told from it; tokens are vectors where rows are
    numbers. Empty for an import.
    """
    if finished.splits is None:
        return {}
    rows, loaded = finished.splits.train, finished.loaded
    lengths_N = np.array([len(item) for item in encode(loaded.reader, [r.input for r in rows], loaded.max_tokens)])
    edges = [edge for edge in LENGTH_BUCKETS if edge < loaded.max_tokens] + [loaded.max_tokens]
    counts, _ = np.histogram(lengths_N, bins=[0, *(edge + 0.5 for edge in edges)])
    reference: Json = {
        "rows": len(rows),
        "tokens_mean": round(float(lengths_N.mean()), 2),
        "tokens_histogram": {f"<={edge}": int(count) for edge, count in zip(edges, counts, strict=True)},
    }
    if isinstance(loaded.reader, Tokenizer):
        reference["unknown_token_share"] = unknown_share(loaded.reader, rows, loaded.max_tokens)
    if finished.labels:
        by_label = Counter(label for row in rows for label in row.all_labels)
        reference["label_shares"] = {label: round(by_label[label] / len(rows), 6) for label in finished.labels}
    if finished.recipe.head.rows == "regression":
        values_N = np.array([row.value for row in rows], np.float64)
        shares = np.linspace(0, 1, 5)
        reference["values"] = {f"{share:g}": float(np.quantile(values_N, share)) for share in shares}
    return reference


def unknown_share(tokenizer: Tokenizer, rows: Sequence[Row], max_tokens: int) -> float:
    """The share of tokens that stand for "not in the vocabulary"; 0 for tokenizers that know every byte."""
    model = json.loads(tokenizer.to_str())["model"]
    unknown = tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else model.get("unk_id")
    ids = [token for row in encode(tokenizer, [r.text for r in rows], max_tokens) for token in row]
    return round(sum(token == unknown for token in ids) / max(len(ids), 1), 6)


def _training(finished: Finished, graph: ExportedGraph) -> Json:
    recipe, splits = finished.recipe, finished.splits
    facts: Json = {
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "seed": recipe.seed,
        "exporter": graph.exporter,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
    }
    if finished.graphs is not None:
        facts["reference"] = "the source's ONNX file"  # of the gate and the golden rows, instead of a torch model
    if after := after_pooling(finished.loaded.encoder):
        facts["after_pooling"] = after
    if splits is not None:
        facts["origin"] = splits.origin
        facts["data"] = splits.digests
        facts["counts"] = {split: asdict(counts) for split, counts in splits.counts.items()}
    return facts


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"  # run from a source tree
