"""Is a packed graph right, as far as can be told without a GPU?

It is executed by reference implementations of its operators over raw texts and random rows: lengths from 1 to the
longest, batches of 1 to 32, with dummy and empty sequences, and compared with the torch model. Float32 must agree as
closely as any other exported graph does (training/export/compare.py). That is the test of the graph: a permuted column
or a lost bias can hide in the noise of half precision where all vectors of a model are alike. Half precision must then
keep every vector's direction, and no value inside may come near its largest number.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.bundle.manifest import EMBEDDING_OUTPUT, Parity
from app.bundle.packed import read_packed
from app.bundle.packing import Shape
from app.bundle.scoring import unit
from training.data.collate import encode
from training.errors import GateError
from training.evaluate import predict_ids
from training.export.compare import (
    VECTOR_LIMIT,
    Floats,
    Outputs,
    check_finite,
    check_shapes,
    logits_difference,
    vector_difference,
)
from training.export.decisions import margins
from training.export.golden import hard_texts
from training.export.packed.graph import HALF_MOST
from training.export.packed.reference import PackedReference, Rows, roomy, tight
from training.export.parity import Reference

HALF_COSINE = 0.9999  # of unit vectors; MiniLM has 0.999998, a wrong layer 0.06
HALF_LOGITS = 2e-2  # of the largest logit of a row, MiniLM classifiers have 1e-3
HALF_ALONE = 2e-3  # of any value of unit vectors: the reference sums a lone row in another order, rounding differs
HEADROOM = 4.0  # texts that nobody tried may be larger; MiniLM has 290
ALONE_BATCH = 7  # the batch whose rows are also run alone
TAIL, EMPTY = 70, 9  # longer than a short batch's longest row: the tail needs several dummies
SEED = 11


@dataclass(frozen=True, slots=True)
class PackedParity:
    """What the gate measured. `peak`: the largest magnitude inside; `min_cosine`: the worst vector's."""

    parity: Parity
    min_cosine: float
    peak: float
    peak_at: str


def check_graph(graph: bytes, reference: Reference, *, half: bool) -> PackedParity:
    """The figures of a packed graph that is right.

    Raises:
        GateError: G02 not finite or too near the largest number, G04 vectors, G05 logits, G06 labels, G07 a row that
            feels its neighbours. BundleError: no packed graph.
    """
    started = time.perf_counter()
    gate = _Gate(graph, reference, half=half)
    for where, rows, shape in _batches(reference):
        gate.check(where, rows, shape)
    gate.check_peak()
    return gate.measured(time.perf_counter() - started)


class _Gate:
    """One check of one graph, and the worst so far."""

    def __init__(self, graph: bytes, reference: Reference, *, half: bool) -> None:
        self._reference = reference
        self._half = half
        model, spec = read_packed(graph, "the packed graph")
        self._packed = PackedReference(model, spec, self._watch)
        self._peaks: dict[str, float] = {}
        self._units = reference.model.units
        self._rows = 0
        self._vector = self._alone = 0.0
        self._cosine = 1.0
        self._logits: float | None = None

    def check(self, where: str, rows: Rows, shape: Shape) -> None:
        """One batch against the torch model; in one of them, also each row alone."""
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below, by name
            got = self._packed.run(rows, shape)
        want = predict_ids(self._reference.model, rows, pad_id=self._reference.pad_id)
        check_shapes(want, got, where)
        check_finite(want, where, "torch model")
        check_finite(got, where, "packed graph")
        self._compare(where, want, got)
        if len(rows) == ALONE_BATCH:
            self._compare_alone(where, rows, unit(got[EMBEDDING_OUTPUT]))
        self._rows += len(rows)

    def check_peak(self) -> None:
        """No value came near what half precision can hold."""
        name, peak = self._peak()
        if self._half and peak * HEADROOM > HALF_MOST:
            limit = f"{HALF_MOST:.0f} / {HEADROOM:.0f}, what half precision holds with headroom"
            raise GateError("G02-finite", f"{name} reaches {peak:.0f}; the limit is {limit}")

    def measured(self, seconds: float) -> PackedParity:
        """All figures."""
        name, peak = self._peak()
        parity = Parity(
            rows=self._rows,
            vector_max_abs_diff=self._vector,
            logits_max_abs_diff=self._logits,
            labels_equal=None if self._logits is None else True,
            alone_max_abs_diff=self._alone,
            seconds=round(seconds, 2),
        )
        return PackedParity(parity, self._cosine, peak, name)

    def _compare(self, where: str, want: Outputs, got: Outputs) -> None:
        a_BD, b_BD = unit(want[EMBEDDING_OUTPUT]), unit(got[EMBEDDING_OUTPUT])
        cosine_B = (a_BD.astype(np.float64) * b_BD).sum(axis=1)
        self._cosine = min(self._cosine, float(cosine_B.min()))
        if not self._half:
            self._vector = max(self._vector, vector_difference(want, got, where))
            if (logits := logits_difference(want, got, where, units=self._units)) is not None:
                self._logits = max(self._logits or 0.0, logits)
            return
        row = int(cosine_B.argmin())
        if cosine_B[row] < HALF_COSINE:
            raise GateError("G04-vectors", f"{where}: row {row} has cosine {cosine_B[row]:.6f}, under {HALF_COSINE}")
        self._vector = max(self._vector, float(np.abs(a_BD - b_BD).max()))
        self._compare_logits(where, want, got)

    def _compare_alone(self, where: str, rows: Rows, together_BD: Floats) -> None:
        alone_BD = np.concatenate([unit(self._packed.run([row])[EMBEDDING_OUTPUT]) for row in rows])
        difference_B = np.abs(alone_BD - together_BD).max(axis=1)
        row, limit = int(difference_B.argmax()), HALF_ALONE if self._half else VECTOR_LIMIT
        if difference_B[row] > limit:
            raise GateError("G07-neighbours", f"{where}: row {row} alone differs by {difference_B[row]:.1e}")
        self._alone = max(self._alone, float(difference_B[row]))

    def _compare_logits(self, where: str, want: Outputs, got: Outputs) -> None:
        for name in want:
            if name == EMBEDDING_OUTPUT:
                continue
            difference_B = np.abs(want[name] - got[name]).max(axis=1)
            limit_B = HALF_LOGITS * np.maximum(np.abs(want[name]).max(axis=1), self._units.get(name, 1.0))
            if (difference_B > limit_B).any():
                row = int((difference_B - limit_B).argmax())
                raise GateError("G05-logits", f"{where}: {name} of row {row} differs by {difference_B[row]:.1e}")
            clear_B = margins(want[name]) > 2 * limit_B
            changed = np.flatnonzero(clear_B & (want[name].argmax(axis=1) != got[name].argmax(axis=1)))
            if changed.size:
                raise GateError("G06-labels", f"{where}: {name}: row {int(changed[0])} has another label")
            self._logits = max(self._logits or 0.0, float(difference_B.max()))

    def _watch(self, name: str, values: Floats) -> None:
        if values.size:
            self._peaks[name] = max(self._peaks.get(name, 0.0), float(np.nanmax(np.abs(values), initial=0.0)))

    def _peak(self) -> tuple[str, float]:
        return max(self._peaks.items(), key=lambda pair: pair[1])


def _batches(reference: Reference) -> Iterator[tuple[str, Rows, Shape]]:
    """A name, rows and the shape to run them in."""
    generator = random.Random(SEED)
    longest = reference.max_tokens
    vocabulary = reference.model.encoder.vocabulary

    def row(length: int) -> list[int]:
        return [generator.randrange(vocabulary) for _ in range(length)]

    texts = encode(reference.tokenizer, hard_texts(longest), longest)
    yield "the raw texts", texts, roomy(texts, tail=TAIL, empty=0)
    yield "one token", [row(1)], tight([[0]])
    pair = [row(longest), row(1)]
    yield "the longest and the shortest", pair, roomy(pair, tail=TAIL, empty=EMPTY)
    padded = row(min(5, longest))
    padded[len(padded) // 2] = reference.pad_id  # a text may hold the sign of padding: its position is no other's
    seven = [padded, *(row(generator.randint(1, min(96, longest))) for _ in range(ALONE_BATCH - 1))]
    yield f"a batch of {ALONE_BATCH}", seven, tight(seven)
    many = [row(generator.randint(1, min(40, longest))) for _ in range(32)]
    yield "a batch of 32", many, roomy(many, tail=TAIL, empty=EMPTY)
