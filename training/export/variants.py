"""Which files of other precisions go into the bundle beside the fp32 graph?

Each maker gives files that have passed a gate of their own, or says why there are none: then the bundle goes without
them, and its manifest and card say so. Only the fp32 graph decides whether there is a bundle at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.bundle.manifest import Agreement, Parity
from app.bundle.packed import PACKED_FILE
from training.data.collate import encode
from training.errors import GateError
from training.export import int8
from training.export.bundle import NewFile
from training.export.describe import Finished, heads_of
from training.export.golden import Golden, hard_texts
from training.export.int8_gate import Labelled, Questions, Reader, judged_rows, pass_gate
from training.export.onnx import ExportedGraph
from training.export.packed.export import export_packed
from training.export.packed.weights import PackedError
from training.export.parity import GraphRunner, Reference
from training.progress import Progress
from training.recipe.settings import ExportTable
from training.signals import signal_stack_kept

INT8_MODEL, INT8_WEIGHTS = "model.int8.xml", "model.int8.bin"
GATE_TEXTS = 300  # neutral ones, for the vectors; none of them has calibrated anything
GATE_ROWS = 200  # held-out rows of the data, for the vectors


@dataclass(frozen=True, slots=True)
class Source:
    """What variants are made of: the model, its fp32 graph that has passed the gate, and its golden rows."""

    finished: Finished
    graph: ExportedGraph
    golden: Golden


@dataclass(frozen=True, slots=True)
class Variant:
    """A model file with what belongs to it; `files[0]` is the one that `parity` was measured of."""

    files: Sequence[NewFile]
    parity: Parity | Agreement


@dataclass(frozen=True, slots=True)
class Maker:
    """One kind of variant. `make` raises GateError, PackedError or Int8Error for a model that cannot have it."""

    name: str
    is_wanted: Callable[[ExportTable], bool]
    make: Callable[[Source, Progress], Variant]


@dataclass(slots=True)
class Variants:
    """Files, what their gates measured, and why others are not there."""

    files: list[NewFile] = field(default_factory=list)
    parity: dict[str, Parity | Agreement] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def variants(source: Source, progress: Progress) -> Variants:
    """Every variant that the recipe wants and the model allows."""
    found = Variants()
    for maker in MAKERS:
        if not maker.is_wanted(source.finished.recipe.export):
            continue
        if source.finished.loaded.encoder.vectors is not None:
            found.refused[maker.name] = "it is made for texts alone"
            continue
        try:
            with signal_stack_kept():
                variant = maker.make(source, progress)
        except (GateError, PackedError, int8.Int8Error) as error:
            found.refused[maker.name] = str(error)
            progress.say(f"the bundle goes without {maker.name}: {error}")
        else:
            found.files += variant.files
            found.parity[variant.files[0].path] = variant.parity
            progress.say(f"{maker.name}: {_line(variant.parity)}")
    return found


def make_int8(source: Source, progress: Progress) -> Variant:
    """The OpenVINO pair for CPUs."""
    finished = source.finished
    loaded = finished.loaded
    if not loaded.encoder.width:
        raise int8.Int8Error("the graph gives no vector, by which an int8 pair is judged")
    calibration = int8.calibration_texts(finished.texts("train"), loaded.max_tokens)
    with progress.step("what the fp32 graph answers to the gate of int8"):
        questions = _questions(source)
    quantizer = int8.Quantizer(source.graph.data, _ids(finished, calibration), loaded.pad_id)
    reader = Reader(heads_of(finished), loaded.pad_id, loaded.max_tokens)
    pair, agreement = pass_gate(quantizer, questions, reader, progress)
    files = [
        NewFile(INT8_MODEL, "model", pair.model, precision="int8", device="cpu"),
        NewFile(INT8_WEIGHTS, "weights", pair.weights, precision="int8", device="cpu"),
    ]
    return Variant(files, agreement)


def make_packed(source: Source, progress: Progress) -> Variant:
    """The half-precision graph without padding for CUDA."""
    finished = source.finished
    loaded = finished.loaded
    with progress.step("packed fp16 for CUDA, and its gate"):
        exported = export_packed(Reference(finished.model, loaded.tokenizer, loaded.max_tokens, loaded.pad_id))
    file = NewFile(PACKED_FILE, "model", exported.data, precision="fp16", device="cuda", state="unverified")
    return Variant([file], exported.parity.parity)


MAKERS: tuple[Maker, ...] = (
    Maker("int8 for CPUs", lambda table: table.int8, make_int8),
    Maker("packed fp16 for CUDA", lambda table: table.packed, make_packed),
)


def _questions(source: Source) -> Questions:
    finished, graph = source.finished, GraphRunner(source.graph.data, source.finished.loaded.pad_id)
    most, held_out = finished.loaded.max_tokens, finished.texts("test", "dev")
    step = max(1, len(held_out) // GATE_ROWS)
    texts = hard_texts(most) + int8.neutral_texts(1, GATE_TEXTS) + held_out[::step][:GATE_ROWS]
    rows, where = _ids(finished, texts), "the gate of int8"
    labelled = []
    for head in finished.heads:
        judged = judged_rows([head.splits.test, head.splits.dev, head.splits.train]) if head.splits else []
        if judged:
            ids = _ids(finished, [row.text for row in judged])
            labelled.append(Labelled(judged, ids, graph.run_sorted(ids, where)))
    return Questions(
        golden=_ids(finished, source.golden.texts),
        golden_reference=source.golden.outputs,
        rows=rows,
        reference=graph.run_sorted(rows, where),
        labelled=labelled,
    )


def _ids(finished: Finished, texts: Sequence[str]) -> list[list[int]]:
    return encode(finished.loaded.tokenizer, texts, finished.loaded.max_tokens)


def _line(parity: Parity | Agreement) -> str:
    if isinstance(parity, Parity):
        return f"vectors within {parity.vector_max_abs_diff or 0:.1e} over {parity.rows} rows, in emulation"
    line = f"cosine {parity.mean_cosine:.4f} in the mean, {parity.worst_cosine:.4f} at worst over {parity.rows} rows"
    if parity.labels_equal is not None:
        line += f"; {parity.labels_equal:.2%} of {parity.judged_rows} labels equal"
    return line + (f"; {len(parity.left_out)} products stay in float32" if parity.left_out else "")
