"""Bundles whose graph is never run, for everything that reads only manifest and tokenizer.

The tokenizer makes a token of each byte, between [CLS] and [SEP]: "abc" has 5 tokens, and every count in a test can be
told by looking.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from app.bundle.manifest import (
    BundleFile,
    ClassifyHead,
    EmbedHead,
    Golden,
    Manifest,
    OutOfScope,
    Role,
    Tensor,
    Trunk,
)
from app.bundle.store import bundle_dir, set_current
from app.types import ModelKey

MAX_TOKENS = 16
DIMENSIONS = 8
INTENTS = ["lights_on", "lights_off", "play_music", "stop", "time", "weather"]
TOPICS = ["sport", "politics", "music"]

EMBED = EmbedHead(name="embedding", output="sentence_embedding", dimensions=DIMENSIONS)
INTENT = ClassifyHead(
    name="intent",
    output="logits_intent",
    problem_type="single_label",
    labels=INTENTS,
    temperature=2.0,
    out_of_scope=OutOfScope(score="max_probability", threshold=0.3),
)
TOPIC = ClassifyHead(
    name="topic", output="logits_topic", problem_type="multi_label", labels=TOPICS, thresholds={"sport": 0.2}
)
STARS = ClassifyHead(name="stars", output="logits_stars", problem_type="regression", labels=["stars"])

Head = EmbedHead | ClassifyHead

HEADS: Mapping[str, Sequence[Head]] = {
    "embedder": [EMBED],
    "intents": [INTENT],
    "mixed": [INTENT, TOPIC],
    "stars": [STARS],
    "topics": [TOPIC],
}


def byte_tokenizer() -> Tokenizer:
    """Each byte a token; the letters are the last 256 of 260 ids."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {token: index for index, token in enumerate(special + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def write_store(store: Path, *, heads: Mapping[str, Sequence[Head]] = HEADS) -> list[ModelKey]:
    """One version of each model, made current."""
    return [write_bundle(store, name, 1, model_heads) for name, model_heads in heads.items()]


def write_bundle(store: Path, name: str, version: int, heads: Sequence[Head]) -> ModelKey:
    """One bundle, made current; its graph and golden files are only there to be named."""
    folder = bundle_dir(store, name, version)
    folder.mkdir(parents=True)
    files = [
        _file(folder, "model.fp32.onnx", "model", b"a graph that nobody runs"),
        _file(folder, "tokenizer.json", "tokenizer", byte_tokenizer().to_str().encode()),
        _file(folder, "golden.jsonl", "golden-inputs", b""),
        _file(folder, "golden.npz", "golden-outputs", b""),
    ]
    manifest = Manifest(
        format=1,
        name=name,
        version=version,
        created="2026-01-02T03:04:05Z",
        modality="text",
        trunk=Trunk(architecture="bytes", source="tests", sha256="0" * 64, hidden=DIMENSIONS),
        heads=list(heads),
        pooling="mean",
        max_tokens=MAX_TOKENS,
        pad_id=0,
        space="space-of-bytes",
        inputs=[Tensor(name="input_ids", dtype="int64", axes=["batch", "tokens"])],
        outputs=[Tensor(name=head.output, dtype="float32", axes=["batch", width(head)]) for head in heads],
        files=files,
        golden=Golden(rows=32),
        parity={},
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    set_current(store, name, version)
    return ModelKey(name, version)


def width(head: Head) -> int:
    """Values of one row of a head's output."""
    return head.dimensions if isinstance(head, EmbedHead) else len(head.labels)


def outputs_of(heads: Mapping[str, Sequence[Head]] = HEADS) -> dict[ModelKey, dict[str, int]]:
    """The graph outputs of version 1 of each model, for `FakeEngine`."""
    return {ModelKey(name, 1): {head.output: width(head) for head in model} for name, model in heads.items()}


def _file(folder: Path, path: str, role: Role, data: bytes) -> BundleFile:
    (folder / path).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    precision = "fp32" if role == "model" else None
    return BundleFile(path=path, role=role, bytes=len(data), sha256=digest, precision=precision)  # type: ignore[arg-type]
