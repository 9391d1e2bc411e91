"""Does the int8 pair give what the fp32 graph gives, as far as int8 can?

The fp32 graph has passed its own gate against torch (parity.py), so it is the reference here. Vectors are compared over
hard texts, and over neutral texts and held-out rows that calibrated nothing; classifiers over 3,000 labelled rows, if
there are so many: those of test first, then of dev, then of train. The golden rows must pass as they will have to when
the bundle is loaded. A text alone must be what it is in any batch. When the limits are missed, the graph is quantised
anew with a product left in float32, then with one more; when no such pair keeps the limits, there is none.

B rows, D dimensions, N judged rows.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov

from app.bundle.batches import slices
from app.bundle.errors import BundleError
from app.bundle.golden import LIMITS, check_heads
from app.bundle.ir import full_length
from app.bundle.manifest import EMBEDDING_OUTPUT, Agreement, ClassifyHead, EmbedHead, HeadAgreement
from app.bundle.scoring import unit
from training.data.collate import pad
from training.data.rows import Row
from training.errors import GateError
from training.export.compare import Floats
from training.export.decisions import decisions
from training.export.exam import make_exam
from training.export.int8 import Pair, Quantizer, openvino_errors
from training.metrics import micro_f1
from training.objectives.regression import values
from training.progress import Progress

MEAN_COSINE, WORST_COSINE, ALONE_COSINE = 0.995, 0.985, 0.9999
LABELS_EQUAL, METRIC_LOSS = 0.99, 0.005
VALUES_APART = 0.05  # of a regression, from those of fp32, in standard deviations of the judged rows' own values
SETS_EQUAL = 0.97  # of labels from thresholds, which lie in the midst of the scores: a barely trained MiniLM on
# GoEmotions, with nine labels a text, keeps 0.980 of them and all but 0.0025 of its macro-F1
JUDGED_ROWS = 3000
BATCH = 8
ALONE_ROWS = 96  # spread over the rows, which run alone, in batches of like length, and as they come
LEFT_OUT_MOST = 3  # products in float32; each costs a twentieth of the speed

Rows = Sequence[Sequence[int]]
Outputs = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows of one classifier with what is right for them, their token ids, and what the fp32 graph answers."""

    rows: Sequence[Row]
    ids: Rows
    reference: Outputs


@dataclass(frozen=True, slots=True)
class Questions:
    """What both graphs are asked, and what is right: golden rows, rows for the vectors, and labelled rows for each
    classifier, in the order of the heads, or for none.
    """

    golden: Rows
    golden_reference: Outputs  # of the torch model
    rows: Rows
    reference: Outputs
    labelled: Sequence[Labelled] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """How rows become a batch, and which heads read the outputs: what the manifest will say."""

    heads: Sequence[EmbedHead | ClassifyHead]
    pad_id: int
    max_tokens: int


def judged_rows(splits: Sequence[Sequence[Row]]) -> list[Row]:
    """Labelled rows to judge on: whole splits in order, test first, until there are 3,000."""
    rows: list[Row] = []
    for split in splits:
        rows += [row for row in split if row.positive is None and row.answer is not None][
            : max(0, JUDGED_ROWS - len(rows))
        ]
    return rows


def pass_gate(quantizer: Quantizer, questions: Questions, reader: Reader, progress: Progress) -> tuple[Pair, Agreement]:
    """The first pair that keeps every limit, and what was measured of it.

    Raises:
        GateError: none does; with what the last one missed. Int8Error: OpenVINO does not take the graph.
    """
    started_s = time.perf_counter()
    refusal: GateError | None = None
    for left_out in _exclusions(quantizer):
        with progress.bar("int8: ranges from calibration texts", quantizer.runs) as bar:
            pair = quantizer.quantize(left_out, on_run=bar.advance)
        try:
            with progress.step("the gate of int8: OpenVINO against the fp32 graph"):
                agreement = check_pair(pair, questions, reader, left_out)
        except GateError as error:
            refusal = error
            progress.say(f"refused ({len(left_out)} products in float32): {error}")
        else:
            seconds = round(time.perf_counter() - started_s, 2)
            return pair, agreement.model_copy(update={"seconds": seconds})
    assert refusal is not None  # the first way leaves out nothing and is always tried
    raise refusal


class IrRunner:
    """An IR in OpenVINO on the CPU: int8 where the file says so, float32 elsewhere, as it is served."""

    def __init__(self, pair: Pair, reader: Reader) -> None:
        core = ov.Core()
        with openvino_errors():
            self._model = core.compile_model(
                core.read_model(pair.model, pair.weights), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
            )
        self._names = [output.get_any_name() for output in self._model.outputs]
        self._reader = reader

    def run(self, rows: Rows, batch_size: int = BATCH, *, sort: bool = True) -> dict[str, Floats]:
        """Every output, row i for `rows[i]`, in batches of like length, or of rows as they come."""
        order = list(range(len(rows)))
        if sort:
            order.sort(key=lambda index: len(rows[index]))
        ordered = [rows[index] for index in order]
        parts: list[list[Floats]] = []
        for part in slices(ordered, batch_size):
            with openvino_errors():
                found = self._model(self._feeds(ordered[part]))
            parts.append([found[name].copy() for name in self._names])
        back = np.argsort(order)
        columns = zip(self._names, zip(*parts, strict=True), strict=True)
        return {name: np.concatenate(column)[back] for name, column in columns}

    def _feeds(self, rows: Rows) -> dict[str, np.ndarray]:
        ids_BT, mask_BT = (array.numpy() for array in pad(rows, self._reader.pad_id))
        more = full_length(ids_BT.shape[1], self._reader.max_tokens) - ids_BT.shape[1]
        return {
            "input_ids": np.pad(ids_BT, ((0, 0), (0, more)), constant_values=self._reader.pad_id),
            "attention_mask": np.pad(mask_BT, ((0, 0), (0, more))),
        }


def _exclusions(quantizer: Quantizer) -> Iterator[list[str]]:
    """Which products to leave in float32: none, then ever more of them, those first that suit int8 least."""
    yield []
    hardest = quantizer.hardest_products()
    for count in range(1, min(LEFT_OUT_MOST, len(hardest)) + 1):
        yield hardest[:count]


def check_pair(pair: Pair, questions: Questions, reader: Reader, left_out: list[str]) -> Agreement:
    """What is measured of one pair.

    Raises:
        GateError: G11 with the first limit that is missed.
    """
    runner = IrRunner(pair, reader)
    outputs = runner.run(questions.rows)
    if not all(np.isfinite(values).all() for values in outputs.values()):
        raise GateError("G11-int8", "outputs are not finite")
    cosine_B = _cosines(questions.reference[EMBEDDING_OUTPUT], outputs[EMBEDDING_OUTPUT])
    _hold(cosine_B.mean() >= MEAN_COSINE, f"mean cosine {cosine_B.mean():.4f}, the limit is {MEAN_COSINE}")
    _hold(cosine_B.min() >= WORST_COSINE, f"worst cosine {cosine_B.min():.4f}, the limit is {WORST_COSINE}")
    _check_golden(runner, questions, reader.heads)
    classifiers = [head for head in reader.heads if isinstance(head, ClassifyHead)]
    alone = _check_alone(runner, questions.rows, classifiers)
    asked = zip(classifiers, questions.labelled, strict=True) if questions.labelled else ()
    first, *others = [(head.name, _judge(runner, rows, head)) for head, rows in asked] or [("", HeadAgreement())]
    measured = {
        "rows": len(questions.rows),
        "mean_cosine": round(float(cosine_B.mean()), 6),
        "worst_cosine": round(float(cosine_B.min()), 6),
        "alone_worst_cosine": round(alone, 7),
        "left_out": left_out,
        "seconds": 0.0,
    }
    return Agreement.model_validate({**measured, **first[1].model_dump(), "more_heads": dict(others)})


def _check_golden(runner: IrRunner, questions: Questions, heads: Sequence[EmbedHead | ClassifyHead]) -> None:
    """What the service will ask for before it serves the pair."""
    try:
        check_heads(heads, LIMITS["int8"], questions.golden_reference, runner.run(questions.golden))
    except BundleError as error:
        raise GateError("G11-int8", f"the service would refuse it: {error.reason}") from error


def _check_alone(runner: IrRunner, rows: Rows, classifiers: Sequence[ClassifyHead]) -> float:
    """The worst cosine of a text alone to itself in a batch; labels must be the same."""
    some = [rows[index] for index in np.linspace(0, len(rows) - 1, min(ALONE_ROWS, len(rows))).astype(int)]
    alone = runner.run(some, batch_size=1)
    worst = 1.0
    for together in (runner.run(some), runner.run(some, sort=False)):
        worst = min(worst, float(_cosines(alone[EMBEDDING_OUTPUT], together[EMBEDDING_OUTPUT]).min()))
        _hold(worst >= ALONE_COSINE, f"a text alone is not itself in a batch: cosine {worst:.6f}")
        for head in classifiers:
            same_BC = decisions(head, alone[head.output]) == decisions(head, together[head.output])
            _hold(bool(same_BC.all()), f"{head.output}: a text alone has another label than in a batch")
    return worst


def _judge(runner: IrRunner, labelled: Labelled, head: ClassifyHead) -> HeadAgreement:
    """How far answers are the same, and what the metric loses."""
    found, wanted = runner.run(labelled.ids), labelled.reference
    exam = make_exam(head, labelled.rows)
    assert exam is not None  # there are rows
    before, after = exam.judge(wanted)[0], exam.judge(found)[0]
    figures = HeadAgreement(judged_rows=exam.rows, metric_fp32=round(before, 6), metric=round(after, 6))
    if head.problem_type == "regression":
        _hold_values(head, labelled, found, after - before)
        return figures
    equal = micro_f1(decisions(head, found[head.output]), decisions(head, wanted[head.output]))
    limit = SETS_EQUAL if head.problem_type == "multi_label" else LABELS_EQUAL
    what = f"head {head.name}: {equal:.2%} of the labels are equal over {exam.rows} rows; {limit:.0%} are wanted"
    _hold(equal >= limit, what)
    _hold(before - after <= METRIC_LOSS, f"head {head.name}: {exam.metric} falls from {before:.4f} to {after:.4f}")
    return figures.model_copy(update={"labels_equal": round(equal, 6)})


def _hold_values(head: ClassifyHead, labelled: Labelled, found: Outputs, more: float) -> None:
    """Values stay near those of fp32, and their mean absolute error grows by no more than `METRIC_LOSS` deviations."""
    deviation = float(values(labelled.rows).std())
    apart = float(np.abs(labelled.reference[head.output] - found[head.output]).mean())
    limit = VALUES_APART * deviation
    _hold(apart <= limit, f"head {head.name}: values are {apart:.3g} apart in the mean; the limit is {limit:.3g}")
    _hold(more <= METRIC_LOSS * deviation, f"head {head.name}: the mean absolute error grows by {more:.3g}")


def _cosines(a_BD: Floats, b_BD: Floats) -> Floats:
    cosine_B: Floats = (unit(a_BD) * unit(b_BD)).sum(axis=1)
    return cosine_B


def _hold(is_kept: bool, what: str) -> None:
    if not is_kept:
        raise GateError("G11-int8", what)
