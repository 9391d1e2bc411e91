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
from training.calibrate import head_of
from training.data.collate import Input, encode, reader_bytes
from training.data.rows import Row, Splits
from training.data.splits import Split
from training.evaluation.trained import Taught, metrics_of
from training.export.onnx import ExportedGraph, inputs_of
from training.modeling import LoadedEncoder, Model, TextEncoder
from training.recipe import Recipe
from training.recipe.heads import TRUNK_HEAD, EmbedTask

MODEL_FILE = "model.fp32.onnx"
LIBRARIES = ("encodery", "numpy", "onnx", "onnxruntime", "onnxscript", "tokenizers", "torch", "transformers")
LENGTH_BUCKETS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)  # tokens, upper ends

Head = EmbedHead | ClassifyHead


@dataclass(frozen=True, slots=True)
class Finished:
    """A model that is ready to leave torch, and all that is known of it: its heads, the primary one first, and the
    files of its report by path. Classifiers that an import brings along are `imported`.
    """

    recipe: Recipe
    model: Model
    loaded: LoadedEncoder
    heads: Sequence[Taught]
    report: Mapping[str, bytes]
    imported: Sequence[ClassifyHead] = ()
    graphs: Callable[[], Iterator[ExportedGraph]] | None = (
        None  # of a model that is a graph already; None: it is exported
    )

    @property
    def metrics(self) -> Json:
        """The figures of all heads."""
        return metrics_of(self.heads)

    @property
    def splits(self) -> Splits | None:
        """The data of the primary head; None for an import."""
        return self.heads[0].splits

    def texts(self, *splits: Split) -> list[str]:
        """`inputs` of a model that reads texts."""
        return [one for one in self.inputs(*splits) if isinstance(one, str)]

    def inputs(self, *splits: Split) -> list[Input]:
        """Those of the rows of these splits: of the primary head, then the texts that other heads have beside them."""
        first, *others = ([row for split in splits for row in getattr(head.splits, split, [])] for head in self.heads)
        found: list[Input] = [row.input for row in first]
        known = {row.text for row in first}
        for rows in others:
            found += [row.text for row in rows if row.text not in known]
            known |= {row.text for row in rows}
        return found


def heads_of(finished: Finished) -> list[Head]:
    """The primary head first; a classifier also offers the vector under its labels."""
    width, heads = finished.loaded.encoder.width, list[Head]()
    for head in finished.heads:
        table = head.table
        if isinstance(table, EmbedTask):
            if not width:  # somebody else's graph that gives logits alone
                return list(finished.imported)
            vector = EmbedHead(
                name=table.name, output=EMBEDDING_OUTPUT, dimensions=width, cuts=table.cuts, normalize=table.normalize
            )
            return [*finished.imported, vector]
        heads.append(head_of(table, head.labels, head.fitted))
    normalize = finished.loaded.normalize
    return [*heads, EmbedHead(name=TRUNK_HEAD, output=EMBEDDING_OUTPUT, dimensions=width, normalize=normalize)]


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
    reference |= _answers(finished.heads[0])
    if more := finished.heads[1:]:
        reference["heads"] = {head.table.name: _answers(head) for head in more}
    return reference


def _answers(head: Taught) -> Json:
    """How often the training rows have which label, or which values they have."""
    rows = head.splits.train if head.splits else []
    found: Json = {}
    if head.labels:
        by_label = Counter(label for row in rows for label in row.all_labels)
        found["label_shares"] = {label: round(by_label[label] / len(rows), 6) for label in head.labels}
    if head.table.rows == "regression":
        values_N = np.array([row.value for row in rows], np.float64)
        shares = np.linspace(0, 1, 5)
        found["values"] = {f"{share:g}": float(np.quantile(values_N, share)) for share in shares}
    return found


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
        facts |= _sources(splits)
    if more := finished.heads[1:]:
        facts["heads"] = {head.table.name: _sources(head.splits) for head in more if head.splits}
    return facts


def _sources(splits: Splits) -> Json:
    counts = {split: asdict(counts) for split, counts in splits.counts.items()}
    return {"origin": splits.origin, "data": splits.digests, "counts": counts}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"  # run from a source tree
