"""How does a finished model become a served one? Export → gate → golden rows → manifest and card → write."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from app.bundle.errors import BundleError
from app.bundle.manifest import Parity
from app.bundle.scope import SCOPE_FILE
from training.data.collate import reader_bytes
from training.errors import GateError
from training.export import golden
from training.export.bundle import NewFile, write_bundle
from training.export.card import card
from training.export.describe import MODEL_FILE, Finished, describe, heads_of
from training.export.exam import make_exam
from training.export.onnx import ExportedGraph, candidates
from training.export.parity import Reference, Shipped, check_parity
from training.export.variants import Source, variants
from training.progress import Progress

CARD_FILE = "MODEL_CARD.md"


def publish(finished: Finished, store: Path, *, progress: Progress) -> Path:
    """The folder of the new version, which is current from now on.

    Raises:
        GateError: no way of exporting the model passed the gate; nothing was published.
        BundleError: what would be published breaks the format.
    """
    loaded = finished.loaded
    like = loaded.encoder.vectors
    tokenizer = reader_bytes(loaded.reader) if like is None else None
    graph, parity = _export(finished, tokenizer, progress)
    with progress.step("recording golden rows"):
        training = finished.inputs("train")
        recorded = golden.record(
            finished.model, loaded.reader, training=training, max_tokens=loaded.max_tokens, pad_id=loaded.pad_id
        )
    statistics = [head.fitted.statistics for head in finished.heads if head.fitted.statistics]
    inputs, outputs = golden.as_files(recorded, heads_of(finished), like)
    more = variants(Source(finished, graph, recorded), progress)
    files = [
        NewFile(MODEL_FILE, "model", graph.data, precision="fp32"),
        *more.files,
        *(NewFile(SCOPE_FILE, "scope", each.to_bytes()) for each in statistics),
        *([NewFile("tokenizer.json", "tokenizer", tokenizer)] if tokenizer is not None else []),
        NewFile("golden.jsonl", "golden-inputs", inputs),
        NewFile("golden.npz", "golden-outputs", outputs),
        *(NewFile(path, "report", data) for path, data in sorted(finished.report.items())),
    ]
    manifest_of = partial(
        describe,
        finished,
        graph=graph,
        parity={MODEL_FILE: parity} | more.parity,
        refused=more.refused,
        golden_rows=recorded.rows,
    )
    draft = manifest_of(version=1, files=[file.described() for file in files])  # the card names no version
    files.append(NewFile(CARD_FILE, "card", card(draft)))
    with progress.step("writing the bundle"):
        folder = write_bundle(
            store, finished.recipe.name, files, lambda v, described: manifest_of(version=v, files=described)
        )
    return folder


def _export(finished: Finished, tokenizer: bytes | None, progress: Progress) -> tuple[ExportedGraph, Parity]:
    """The first graph that passes the gate; the refusal of the first one when none does."""
    loaded = finished.loaded
    heads = heads_of(finished)
    reference = Reference(finished.model, loaded.reader, loaded.max_tokens, loaded.pad_id)
    exams = []
    for head, taught in zip(heads, finished.heads, strict=False):  # the last is the vector of classifiers
        exam = make_exam(head, taught.splits.test if taught.splits else [])
        if exam is not None and (expected := _figure(taught.metrics, exam.metric)) is not None:
            exams.append((exam, expected))
    refusals: list[GateError | BundleError] = []
    ways = finished.graphs() if finished.graphs else candidates(finished.model, max_tokens=loaded.max_tokens)
    while True:
        with progress.step("exporting the graph"):
            graph = next(ways, None)
        if graph is None:
            raise refusals[0]
        try:
            with progress.step(f"the gate: ONNX Runtime against {'the source' if finished.graphs else 'torch'}"):
                shipped = Shipped(graph.data, tokenizer, heads)
                parity = check_parity(reference, shipped, exams)
        except (GateError, BundleError) as error:
            refusals.append(error)
            progress.say(f"refused ({graph.exporter}): {error}")
        else:
            progress.say(_line(graph, parity))
            return graph, parity


def _figure(metrics: Mapping[str, object], name: str) -> float | None:
    value = metrics.get(name)
    return value if isinstance(value, float) else None


def _line(graph: ExportedGraph, parity: Parity) -> str:
    fused = ", ".join(f"{count} {name}" for name, count in graph.fused_ops.items()) or "nothing"
    logits = f", logits {parity.logits_max_abs_diff:.1e}" if parity.logits_max_abs_diff is not None else ""
    found = parity.vector_max_abs_diff
    vectors = f"vectors within {found:.1e}" if found is not None else "no vectors"
    return f"passed ({graph.exporter}; fused: {fused}): {vectors}{logits}"
