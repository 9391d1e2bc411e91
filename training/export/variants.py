"""Which files of other precisions go into the bundle beside the fp32 graph?

Each maker gives files that have passed a gate of their own, or says why there are none: then the bundle goes without
them, and its manifest says so. Only the fp32 graph decides whether there is a bundle at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.bundle.manifest import Agreement, Parity
from app.bundle.packed import PACKED_FILE
from training.data.collate import encode
from training.errors import GateError
from training.export import int8
from training.export.bundle import NewFile
from training.export.describe import Finished, heads_of
from training.export.golden import hard_texts
from training.export.int8_gate import Questions, judged_rows, pass_gate
from training.export.onnx import ExportedGraph
from training.export.packed.export import export_packed
from training.export.packed.weights import PackedError
from training.export.parity import GraphRunner, Reference
from training.progress import Progress

INT8_MODEL, INT8_WEIGHTS = "model.int8.xml", "model.int8.bin"
GATE_TEXTS = 300  # for the vectors; none of them has calibrated anything


@dataclass(slots=True)
class Variants:
    """Files, what their gates measured, and why others are not there."""

    files: list[NewFile] = field(default_factory=list)
    parity: dict[str, Parity | Agreement] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def variants(finished: Finished, graph: ExportedGraph, progress: Progress) -> Variants:
    """Every variant that the recipe wants and the model allows."""
    wanted: Mapping[str, tuple[bool, Callable[[], tuple[list[NewFile], str, Parity | Agreement]]]] = {
        "int8 for CPUs": (finished.recipe.export.int8, lambda: _int8(finished, graph)),
        "packed fp16 for CUDA": (finished.recipe.export.packed, lambda: _packed(finished)),
    }
    found = Variants()
    for name, (is_wanted, make) in wanted.items():
        if not is_wanted:
            continue
        try:
            with progress.step(f"making {name}, and its gate"):
                files, path, parity = make()
        except (GateError, PackedError) as error:
            found.refused[name] = str(error)
            progress.say(f"no {name}: {error}")
        else:
            found.files += files
            found.parity[path] = parity
            progress.say(f"{name}: {_line(parity)}")
    return found


def _int8(finished: Finished, graph: ExportedGraph) -> tuple[list[NewFile], str, Agreement]:
    loaded, splits = finished.loaded, finished.splits

    def ids(texts: list[str]) -> list[list[int]]:
        return encode(loaded.tokenizer, texts, loaded.max_tokens)

    training = [row.text for row in splits.train] if splits else []
    calibration = ids(int8.calibration_texts(training, loaded.max_tokens))
    judged = judged_rows([splits.test, splits.dev, splits.train]) if splits else []
    rows = ids(hard_texts(loaded.max_tokens) + int8.neutral_texts(1, GATE_TEXTS))
    labelled = ids([row.text for row in judged])
    reference = GraphRunner(graph.data, loaded.pad_id)
    questions = Questions(
        rows,
        reference.run_sorted(rows, "int8 gate"),
        labelled,
        [str(row.label) for row in judged],
        reference.run_sorted(labelled, "int8 gate") if labelled else {},
    )
    quantizer = int8.Quantizer(graph.data, calibration, loaded.pad_id)
    pair, agreement = pass_gate(quantizer, questions, heads_of(finished), loaded.pad_id)
    files = [
        NewFile(INT8_MODEL, "model", pair.model, precision="int8", device="cpu"),
        NewFile(INT8_WEIGHTS, "weights", pair.weights, precision="int8", device="cpu"),
    ]
    return files, INT8_MODEL, agreement


def _packed(finished: Finished) -> tuple[list[NewFile], str, Parity]:
    loaded = finished.loaded
    exported = export_packed(Reference(finished.model, loaded.tokenizer, loaded.max_tokens, loaded.pad_id))
    file = NewFile(PACKED_FILE, "model", exported.data, precision="fp16", device="cuda", state="unverified")
    return [file], PACKED_FILE, exported.parity.parity


def _line(parity: Parity | Agreement) -> str:
    if isinstance(parity, Parity):
        return f"vectors within {parity.vector_max_abs_diff:.1e} over {parity.rows} rows, in emulation"
    line = f"cosine {parity.mean_cosine:.4f} in the mean, {parity.worst_cosine:.4f} at worst over {parity.rows} rows"
    if parity.labels_equal is not None:
        line += f"; {parity.labels_equal:.2%} of {parity.judged_rows} labels equal"
    return line + (f"; {len(parity.left_out)} products stay in float32" if parity.left_out else "")
