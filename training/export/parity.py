"""Does the exported file give what the torch model gives?

The gate in front of every bundle. Raw texts go through the shipped tokenizer.json and the shipped graph in ONNX
Runtime on one side, through the source's tokenizer and the torch model on the other; so do rows of ids of every length
and batch size. Rows must not feel their neighbours or their place, and the task must come out the same on the test
split. A broken rule raises, and nothing is published. The rules are listed in docs/bundle-format.md.
"""

import hashlib
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from app.bundle.batches import most_rows, slices
from app.bundle.feeding import feeder
from app.bundle.graph import parse_graph
from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, EmbedHead, Parity
from app.bundle.tokenizer import load_tokenizer
from app.bundle.vectors import VectorInput
from training.data.collate import Input, Item, Reader, encode, tokenizer_of
from training.errors import GateError
from training.evaluate import predict_ids
from training.export.compare import (
    Floats,
    Outputs,
    check_finite,
    check_labels,
    check_shapes,
    logits_difference,
    vector_difference,
)
from training.export.exam import Exam
from training.export.golden import hard_inputs
from training.export.vectors import random_rows
from training.modeling.model import Model

Rows = Sequence[Item]

LENGTHS = (1, 3, 17)  # and the longest that the model takes
BATCHES = (1, 2, 7, 32)  # fewer of long rows: app/bundle/batches.py
ALONE_BATCH = 7  # the batch whose rows are also run alone and in reverse order
TEXT_BATCH = 8  # long texts stand among short ones, as in traffic, but do not pad all of them
DUPLICATE_BYTES = 2**20  # a tensor of over 1 MB must not stand in the file twice
GRID_SEED = 7
RANDOM = frozenset(
    ("Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
)


@dataclass(frozen=True, slots=True)
class Reference:
    """What is right: the torch model, fed by the tokenizer that came with it, or numbers of the form that it reads."""

    model: Model
    reader: Reader
    max_tokens: int
    pad_id: int

    @property
    def tokenizer(self) -> Tokenizer:
        """See `tokenizer_of`."""
        return tokenizer_of(self.reader)


@dataclass(frozen=True, slots=True)
class Shipped:
    """What callers would get: the bytes of the graph and of tokenizer.json (of texts alone), and the heads with their
    labels.
    """

    graph: bytes
    tokenizer: bytes | None
    heads: Sequence[EmbedHead | ClassifyHead]


def check_parity(reference: Reference, shipped: Shipped, exams: Sequence[tuple[Exam, float]] = ()) -> Parity:
    """The figures of a graph that keeps every rule. Each exam comes with what the torch model reached in it.

    Raises:
        GateError: the first broken rule, with the place, the value and the limit.
        BundleError: the graph or the tokenizer breaks the bundle's own rules (B06, B08).
    """
    started = time.perf_counter()
    check_file(shipped.graph)
    gate = _Gate(reference, shipped)
    gate.check_inputs(hard_inputs(reference.reader, reference.max_tokens))
    gate.check_grid()
    for exam, expected in exams:
        gate.check_exam(exam, expected)
    return Parity(
        rows=gate.rows,
        vector_max_abs_diff=gate.vector,
        logits_max_abs_diff=gate.logits,
        labels_equal=True if gate.judged else None,
        alone_max_abs_diff=gate.alone,
        seconds=round(time.perf_counter() - started, 2),
    )


def check_file(graph: bytes) -> None:
    """What can be told without running it: known operators, tensors inside the file, nothing random, no big tensor
    twice (exporters unfold tied weights).

    ONNX Runtime ignores dropout on the CPU, so that running it there would not show it; other devices obey.

    Raises:
        GateError: G08 or G09. BundleError: B06.
    """
    proto = parse_graph(graph, "the exported graph").graph
    for node in proto.node:
        if node.op_type in RANDOM:
            raise GateError("G08-repeat", f"the graph has the operator {node.op_type}, which draws at random")
    seen: dict[str, str] = {}
    for tensor in proto.initializer:
        if len(tensor.raw_data) >= DUPLICATE_BYTES:
            first = seen.setdefault(hashlib.sha256(tensor.raw_data).hexdigest(), tensor.name)
            if first != tensor.name:
                raise GateError("G09-duplicates", f"the tensors {first} and {tensor.name} of the graph are the same")


class GraphRunner:
    """An exported graph in ONNX Runtime on the CPU, every core on one run."""

    def __init__(self, graph: bytes, pad_id: int) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4  # its errors come as exceptions; the log would say them twice
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch has the cores in between
        try:
            self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common class but Exception
            raise GateError("G01-shapes", f"ONNX Runtime does not open the graph: {_first_line(error)}") from error
        self._names = [output.name for output in self._session.get_outputs()]
        self._feeds = feeder([one.name for one in self._session.get_inputs()], pad_id)

    def run(self, rows: Rows, where: str, *, batch_size: int = max(BATCHES)) -> dict[str, Floats]:
        """Every output for `rows`, row i for `rows[i]`, in batches in the order given, smaller where rows are long
        (else G01).
        """
        parts: list[list[Floats]] = []
        for part in slices(rows, batch_size):
            feeds = self._feeds([np.asarray(row) for row in rows[part]])
            try:
                parts.append(self._session.run(self._names, feeds))
            except Exception as error:
                shape = "×".join(str(size) for size in next(iter(feeds.values())).shape)
                raise GateError("G01-shapes", f"{where}: the graph fails on {shape}: {_first_line(error)}") from error
        return {
            name: np.concatenate(columns) for name, columns in zip(self._names, zip(*parts, strict=True), strict=True)
        }

    def run_sorted(self, rows: Rows, where: str) -> dict[str, Floats]:
        """`run` with rows of like length side by side, which saves most of the padding."""
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        outputs = self.run([rows[index] for index in order], where)
        back = np.argsort(order)
        return {name: found[back] for name, found in outputs.items()}


class _Gate:
    """One check of one file, and the largest differences so far."""

    def __init__(self, reference: Reference, shipped: Shipped) -> None:
        self._reference = reference
        self._reader = reference.reader if shipped.tokenizer is None else load_tokenizer(shipped.tokenizer)
        self._runner = GraphRunner(shipped.graph, reference.pad_id)
        self.judged = [head for head in shipped.heads if isinstance(head, ClassifyHead)]
        self._units = reference.model.units
        self.rows = 0
        self.vector: float | None = None
        self.alone = 0.0
        self.logits: float | None = None

    def check_inputs(self, inputs: Sequence[Input]) -> None:
        """Raw texts, through both tokenizers and both models; or numbers that hurt, through both models."""
        expected = encode(self._reference.reader, inputs, self._reference.max_tokens)
        found = encode(self._reader, inputs, self._reference.max_tokens)
        for text, want, got in zip(inputs, expected, found, strict=True):
            if not isinstance(text, str):
                continue
            if not got:
                raise GateError("G03-tokenizer", f"{text[:40]!r} has no tokens at all, not even special ones")
            if want != got:
                raise GateError(
                    "G03-tokenizer", f"the shipped tokenizer makes {got[:9]}… of {text[:40]!r}, not {want[:9]}…"
                )
        where = "the raw texts" if isinstance(self._reader, Tokenizer) else "the vectors"
        self._check_rows(found, where, batch_size=TEXT_BATCH, neighbours=True)

    def check_grid(self) -> None:
        """Rows of random ids or numbers, each length × each batch size."""
        for length, batch, rows in self._grid():
            where = f"batch {batch} × length {length}"
            alone = min(ALONE_BATCH, most_rows(length))
            self._check_rows(rows, where, batch_size=batch, neighbours=batch == alone)

    def check_exam(self, exam: Exam, expected: float) -> None:
        """The task as a caller would see it: shipped tokenizer, shipped graph, labels in the manifest's order."""
        ids = encode(self._reader, exam.texts, self._reference.max_tokens)
        value, slack = exam.judge(self._runner.run_sorted(ids, "the test split"))
        if not abs(value - expected) <= slack + 1e-9:
            found = f"{value:.4f} through the exported file and {expected:.4f} in torch"
            what = f"head {exam.head}: {exam.metric} on {exam.rows} test rows"
            raise GateError("G10-metric", f"{what} is {found}; they must be equal")

    def _grid(self) -> Iterator[tuple[int, int, Rows]]:
        """The first row of a batch has the length, the others at most that."""
        generator = random.Random(GRID_SEED)
        longest = self._reference.max_tokens
        for length in sorted({*(min(length, longest) for length in LENGTHS), longest}):
            for batch in sorted({min(batch, most_rows(length)) for batch in BATCHES}):
                lengths = [length, *(generator.randint(1, length) for _ in range(batch - 1))]
                yield length, batch, [self._random_row(generator, n) for n in lengths]

    def _random_row(self, generator: random.Random, length: int) -> Item:
        if isinstance(self._reader, VectorInput):
            return random_rows(self._reader, [length], seed=generator.randrange(2**32))[0]
        vocabulary = min(self._reader.get_vocab_size(), self._reference.model.encoder.vocabulary)
        return [generator.randrange(vocabulary) for _ in range(length)]

    def _check_rows(self, rows: Rows, where: str, *, batch_size: int, neighbours: bool) -> None:
        got = self._runner.run(rows, where, batch_size=batch_size)
        want: Outputs = predict_ids(self._reference.model, rows, pad_id=self._reference.pad_id)
        check_shapes(want, got, where)
        check_finite(want, where, "torch model")
        check_finite(got, where, "graph")
        if EMBEDDING_OUTPUT in want:
            self.vector = max(self.vector or 0.0, vector_difference(want, got, where))
        if (logits := logits_difference(want, got, where, units=self._units)) is not None:
            self.logits = max(self.logits or 0.0, logits)
        check_labels(want, got, self.judged, where)
        self.rows += len(rows)
        if neighbours:
            self._check_neighbours(rows, got, where, batch_size)

    def _check_neighbours(self, rows: Rows, outputs: Outputs, where: str, batch_size: int) -> None:
        """Once more, alone, and in reverse order: the same answers each time."""
        again = self._runner.run(rows, where, batch_size=batch_size)
        if any(not np.array_equal(outputs[name], again[name]) for name in outputs):
            raise GateError("G08-repeat", f"{where}: the same rows give other outputs when they run again")
        ones = [self._runner.run([row], where) for row in rows]
        turned = self._runner.run(rows[::-1], where, batch_size=batch_size)
        for how, other in (
            ("alone", {name: np.concatenate([one[name] for one in ones]) for name in outputs}),
            ("in reverse order", {name: turned[name][::-1] for name in outputs}),
        ):
            place = f"{where}, rows {how}"
            differs = logits_difference(outputs, other, place, rule="G07-neighbours", units=self._units) or 0.0
            if EMBEDDING_OUTPUT in outputs:
                differs = vector_difference(outputs, other, place, rule="G07-neighbours")
            self.alone = max(self.alone, differs)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
