"""The gate of int8 lets the right pair pass and refuses each planted fault."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from app.bundle.golden import load_golden
from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead
from app.bundle.tokenizer import load_tokenizer
from app.bundle.verify import verify
from tests.contract.bundles import CLASSIFIER, STORE
from tests.data.make_tiny import sentences
from training.data.collate import encode
from training.data.rows import Row
from training.errors import GateError
from training.export.compare import Floats
from training.export.golden import TRAINING_TEXTS
from training.export.int8 import Pair, Quantizer, as_files, calibration_texts
from training.export.int8_gate import IrRunner, Labelled, Questions, Reader, check_pair, judged_rows, pass_gate
from training.export.parity import GraphRunner
from training.progress import Progress

CALIBRATED_EACH = 6  # of the calibration texts: enough for so small a model
BUNDLE = verify(STORE / CLASSIFIER / "1")
MANIFEST = BUNDLE.manifest
GRAPH = BUNDLE.read(next(file for file in MANIFEST.files if file.precision == "fp32"))
LABELS = ["lights_off", "lights_on", "play_music", "weather"]
ROWS = [Row(text, f"sentences.jsonl:{number}", label=label) for number, (text, label) in enumerate(sentences())]


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(MANIFEST.heads, MANIFEST.pad_id, MANIFEST.max_tokens)


@pytest.fixture(scope="module")
def questions() -> Questions:
    """Of the golden rows those of the model's own kind: what it makes of others hangs on the last bit."""
    golden = load_golden(BUNDLE)
    own = {name: values[-TRAINING_TEXTS:] for name, values in golden.outputs.items()}
    texts = [row.text for row in ROWS]
    rows, judged = _ids(golden.texts + texts[:60]), _ids(texts)
    graph = GraphRunner(GRAPH, MANIFEST.pad_id)
    answers = [graph.run_sorted(asked, "the test") for asked in (rows, judged)]
    return Questions(_ids(golden.texts[-TRAINING_TEXTS:]), own, rows, answers[0], [Labelled(ROWS, judged, answers[1])])


def asking(
    questions: Questions, *, rows: Sequence[Row] | None = None, reference: dict[str, Floats] | None = None
) -> Questions:
    """The same with other rows, or another reference, for the classifier."""
    asked = questions.labelled[0]
    changed = replace(asked, rows=rows or asked.rows, reference=reference or asked.reference)
    return replace(questions, labelled=[changed])


@pytest.fixture(scope="module")
def quantizer() -> Quantizer:
    texts = calibration_texts([row.text for row in ROWS], MANIFEST.max_tokens)[::CALIBRATED_EACH]
    return Quantizer(GRAPH, _ids(texts), MANIFEST.pad_id)


def _ids(texts: Sequence[str]) -> list[list[int]]:
    tokenizer = load_tokenizer(BUNDLE.read(MANIFEST.file("tokenizer")))
    return encode(tokenizer, texts, MANIFEST.max_tokens)


@pytest.fixture(scope="module")
def pair(quantizer: Quantizer) -> Pair:
    return quantizer.quantize()


def test_the_right_pair_passes_with_its_figures(pair: Pair, questions: Questions, reader: Reader) -> None:
    agreement = check_pair(pair, questions, reader, [])

    assert agreement.rows == len(questions.rows)
    assert agreement.judged_rows == len(ROWS)
    assert agreement.labels_equal is not None
    assert agreement.labels_equal >= 0.99
    assert agreement.mean_cosine >= 0.995
    assert agreement.alone_worst_cosine >= 0.9999


def test_a_text_has_the_same_bits_alone_and_in_any_batch(pair: Pair, questions: Questions, reader: Reader) -> None:
    runner = IrRunner(pair, reader)

    alone = runner.run(questions.rows, batch_size=1)

    for batch_size, sort in ((2, True), (7, False), (8, True), (len(questions.rows), False)):
        together = runner.run(questions.rows, batch_size, sort=sort)
        assert [name for name in alone if not np.array_equal(alone[name], together[name])] == []


def _edited(pair: Pair, change: Callable[[ov.Model], None]) -> Pair:
    model = ov.Core().read_model(pair.model, pair.weights)
    change(model)
    model.validate_nodes_and_infer_types()
    return as_files(model)


def _mix_batch(model: ov.Model) -> None:
    """Each row gets a little of the largest value that any row of its batch has."""
    result = model.output(EMBEDDING_OUTPUT).get_node()
    values = result.input_value(0)
    most = op.reduce_max(values, op.constant(np.array([0])), keep_dims=True)
    mixed = op.add(values, op.multiply(most, op.constant(np.float32(0.05))))
    mixed.output(0).set_names(values.get_names())
    result.input(0).replace_source_output(mixed.output(0))


def _turn(model: ov.Model) -> None:
    """The values of each vector in another order."""
    result = model.output(EMBEDDING_OUTPUT).get_node()
    values = result.input_value(0)
    width = values.get_partial_shape()[1].get_length()
    turned = op.gather(values, op.constant(np.arange(width)[::-1].copy()), op.constant(np.int64(1)))
    turned.output(0).set_names(values.get_names())
    result.input(0).replace_source_output(turned.output(0))


def _overflow(model: ov.Model) -> None:
    result = model.output(EMBEDDING_OUTPUT).get_node()
    values = result.input_value(0)
    large = op.multiply(values, op.constant(np.float32(np.inf)))
    large.output(0).set_names(values.get_names())
    result.input(0).replace_source_output(large.output(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [(_turn, "mean cosine"), (_overflow, "not finite"), (_mix_batch, "alone is not itself")],
    ids=["other vectors", "overflow", "batch mates"],
)
def test_a_spoilt_pair_is_refused(
    change: Callable[[ov.Model], None], message: str, pair: Pair, questions: Questions, reader: Reader
) -> None:
    with pytest.raises(GateError, match=message) as refusal:
        check_pair(_edited(pair, change), questions, reader, [])

    assert refusal.value.rule == "G11-int8"


def test_a_worst_row_is_refused_where_the_mean_is_fine(pair: Pair, questions: Questions, reader: Reader) -> None:
    reference = {name: values.copy() for name, values in questions.reference.items()}
    reference[EMBEDDING_OUTPUT][7] = reference[EMBEDDING_OUTPUT][7][::-1]

    with pytest.raises(GateError, match="worst cosine"):
        check_pair(
            pair, replace(questions, rows=list(questions.rows) * 9, reference=_nine_times(reference)), reader, []
        )


def _nine_times(reference: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Only the first of nine copies is spoilt, so that the mean keeps its limit."""
    whole = {name: np.concatenate([values] * 9) for name, values in reference.items()}
    rows = len(reference[EMBEDDING_OUTPUT])
    for copy in range(1, 9):
        whole[EMBEDDING_OUTPUT][copy * rows + 7] = whole[EMBEDDING_OUTPUT][copy * rows + 7][::-1]
    return whole


def test_golden_rows_that_the_service_would_refuse_are_refused_here(
    pair: Pair, questions: Questions, reader: Reader
) -> None:
    golden = {name: values.copy() for name, values in questions.golden_reference.items()}
    golden["logits_intent"] = np.roll(golden["logits_intent"], 1, axis=1) * 9

    with pytest.raises(GateError, match="the service would refuse it"):
        check_pair(pair, replace(questions, golden_reference=golden), reader, [])


def test_too_many_other_labels_are_refused(pair: Pair, questions: Questions, reader: Reader) -> None:
    other = {name: values.copy() for name, values in questions.labelled[0].reference.items()}
    spoilt = len(ROWS) // 50
    other["logits_intent"][:spoilt] = -other["logits_intent"][:spoilt]

    with pytest.raises(GateError, match="of the labels are equal"):
        check_pair(pair, asking(questions, reference=other), reader, [])


def test_a_loss_of_accuracy_is_refused_though_the_labels_agree(
    pair: Pair, questions: Questions, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that differ are rare, but all of them were right before."""
    found = IrRunner(pair, reader).run(questions.labelled[0].ids)["logits_intent"].argmax(axis=1)
    other = {name: values.copy() for name, values in questions.labelled[0].reference.items()}
    changed = np.arange(0, len(ROWS), 150)  # under one in a hundred
    other["logits_intent"][changed] = 0
    other["logits_intent"][changed, (found[changed] + 1) % 4] = 1
    best_N = other["logits_intent"].argmax(axis=1)
    truth = [replace(row, label=LABELS[best]) for row, best in zip(ROWS, best_N, strict=True)]

    with pytest.raises(GateError, match="accuracy falls"):
        check_pair(pair, asking(questions, reference=other, rows=truth), reader, [])


@pytest.fixture
def several(reader: Reader, questions: Questions) -> tuple[Reader, Questions]:
    """The same model, taken for one that gives any label from its threshold on."""
    changes = {"problem_type": "multi_label", "thresholds": dict.fromkeys(LABELS, 0.6), "out_of_scope": None}
    heads = [head.model_copy(update=changes) if isinstance(head, ClassifyHead) else head for head in reader.heads]
    rows = [replace(row, label=None, labels=(str(row.label),)) for row in ROWS]
    return replace(reader, heads=heads), asking(questions, rows=rows)


def test_labels_from_thresholds_are_judged_too(pair: Pair, several: tuple[Reader, Questions]) -> None:
    reader, questions = several

    agreement = check_pair(pair, questions, reader, [])

    assert agreement.judged_rows == len(ROWS)
    assert agreement.labels_equal is not None
    assert agreement.labels_equal >= 0.99
    assert agreement.metric is not None
    assert agreement.metric > 0.5  # macro-F1: logits of one label a text are too high for the others


def test_every_classifier_is_judged_on_its_own_rows(
    pair: Pair, reader: Reader, questions: Questions, several: tuple[Reader, Questions]
) -> None:
    """One of one label a text, and one of several; the second is refused though the first agrees."""
    second = next(head for head in several[0].heads if isinstance(head, ClassifyHead))
    two = replace(reader, heads=[*reader.heads, second.model_copy(update={"name": "topics"})])
    whole = several[1].labelled[0]
    other = whole.reference["logits_intent"][:100].copy()
    right, wrong = (
        Labelled(whole.rows[:100], whole.ids[:100], {"logits_intent": logits})
        for logits in (whole.reference["logits_intent"][:100], np.where(np.arange(100)[:, None] < 20, -9, other))
    )

    agreement = check_pair(pair, replace(questions, labelled=[*questions.labelled, right]), two, [])

    assert agreement.judged_rows == len(ROWS)
    assert {name: head.judged_rows for name, head in agreement.more_heads.items()} == {"topics": 100}
    with pytest.raises(GateError, match=r"head topics: .* of the labels are equal"):
        check_pair(pair, replace(questions, labelled=[*questions.labelled, wrong]), two, [])


def test_other_labels_from_thresholds_are_refused(pair: Pair, several: tuple[Reader, Questions]) -> None:
    reader, questions = several
    other = {name: values.copy() for name, values in questions.labelled[0].reference.items()}
    other["logits_intent"][: len(ROWS) // 10] = -9

    with pytest.raises(GateError, match="of the labels are equal"):
        check_pair(pair, asking(questions, reference=other), reader, [])


@pytest.fixture
def one_value(reader: Reader, questions: Questions) -> tuple[Reader, Questions]:
    """The same model, its first logit taken for a value that is 0.3 too high or too low."""
    changes = {"problem_type": "regression", "out_of_scope": None}
    heads = [head.model_copy(update=changes) if isinstance(head, ClassifyHead) else head for head in reader.heads]
    values_N = questions.labelled[0].reference["logits_intent"][:, 0]
    rows = [
        replace(row, label=None, value=float(each) + (0.3 if number % 2 else -0.3))
        for number, (row, each) in enumerate(zip(ROWS, values_N, strict=True))
    ]
    return replace(reader, heads=heads), asking(questions, rows=rows)


def test_values_are_judged_by_their_error(pair: Pair, one_value: tuple[Reader, Questions]) -> None:
    reader, questions = one_value

    agreement = check_pair(pair, questions, reader, [])

    assert (agreement.judged_rows, agreement.labels_equal) == (len(ROWS), None)
    assert agreement.metric_fp32 == pytest.approx(0.3, abs=1e-4)
    assert agreement.metric == pytest.approx(0.3, abs=0.02)


def test_values_that_are_apart_are_refused(pair: Pair, one_value: tuple[Reader, Questions]) -> None:
    reader, questions = one_value
    other = {name: values.copy() for name, values in questions.labelled[0].reference.items()}
    other["logits_intent"] += 0.1 * float(other["logits_intent"][:, 0].std())

    with pytest.raises(GateError, match=r"values are .* apart in the mean"):
        check_pair(pair, asking(questions, reference=other), reader, [])


class SpoiltAtFirst(Quantizer):
    """Its pairs are another model's until so many products are left out."""

    def __init__(self, pair: Pair, good_from: int) -> None:
        self._pair = pair
        self._good_from = good_from
        self.asked: list[list[str]] = []

    @property
    def runs(self) -> int:
        return 1

    def hardest_products(self) -> list[str]:
        return ["first", "second", "third", "fourth", "fifth"]

    def quantize(self, left_out: Sequence[str] = (), *, on_run: Callable[[], object] = lambda: None) -> Pair:
        self.asked.append(list(left_out))
        return self._pair if len(left_out) >= self._good_from else _edited(self._pair, _turn)


def test_products_are_left_out_one_by_one_until_the_limits_hold(
    pair: Pair, questions: Questions, reader: Reader
) -> None:
    quantizer = SpoiltAtFirst(pair, good_from=2)

    found, agreement = pass_gate(quantizer, questions, reader, Progress())

    assert found == pair
    assert quantizer.asked == [[], ["first"], ["first", "second"]]
    assert agreement.left_out == ["first", "second"]
    assert agreement.seconds > 0


def test_a_model_that_int8_does_not_suit_gets_no_pair(pair: Pair, questions: Questions, reader: Reader) -> None:
    quantizer = SpoiltAtFirst(pair, good_from=99)

    with pytest.raises(GateError, match="mean cosine"):
        pass_gate(quantizer, questions, reader, Progress())

    assert quantizer.asked[-1] == ["first", "second", "third"]


def test_three_thousand_rows_are_judged_those_of_test_first() -> None:
    test, dev, train = ([Row(f"{name} {n}", name, label="a") for n in range(1400)] for name in ("test", "dev", "train"))

    rows = judged_rows([test, dev, train])

    assert len(judged_rows([[Row("x", "test", labels=()), Row("y", "test", positive="z")]])) == 1
    assert [row.where for row in rows] == ["test"] * 1400 + ["dev"] * 1400 + ["train"] * 200
