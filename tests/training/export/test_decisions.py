"""Labels over their thresholds are decided as the service decides them, and where it is close, that is known."""

import numpy as np
import pytest

from app.bundle.manifest import ClassifyHead
from app.tasks.classify import Options, finish
from training.data.rows import Row
from training.errors import GateError
from training.export.compare import check_labels, logits_difference
from training.export.decisions import decisions, unsure
from training.export.exam import make_exam
from training.metrics import label_figures, macro_f1

HEAD = ClassifyHead(
    name="topics",
    output="logits_topics",
    problem_type="multi_label",
    labels=["a", "b", "c"],
    temperature=1.7,
    thresholds={"a": 0.2, "b": 0.75},
)
EDGE = np.float32(np.log(0.75 / 0.25) * 1.7)  # the logit of b's threshold


def test_decisions_are_those_of_the_service() -> None:
    logits_BC = np.random.default_rng(4).normal(0, 3, (200, 3)).astype(np.float32)

    found = decisions(HEAD, logits_BC)

    served = finish(HEAD, logits_BC, Options(top_k=3, threshold=None, raw_scores=False))
    assert [set(np.array(HEAD.labels)[given_C]) for given_C in found] == [set(one["labels"]) for one in served]  # type: ignore[call-overload]  # a list of labels


def test_a_logit_near_its_threshold_is_too_close_to_call() -> None:
    logits_BC = np.array([[0, EDGE + 5e-5, 0.5], [0, EDGE + 5e-4, 5e-5]], np.float32)

    assert unsure(HEAD, logits_BC).tolist() == [[False, True, False], [False, False, True]]


def test_another_label_is_refused_where_it_is_clear() -> None:
    near, far = np.array([[0, EDGE + 5e-5, 1]], np.float32), np.array([[0, EDGE + 5e-4, 1]], np.float32)
    under = np.array([[0, EDGE - 5e-5, 1]], np.float32)

    check_labels({HEAD.output: near}, {HEAD.output: under}, [HEAD], "here")
    with pytest.raises(GateError, match="G06-labels: here: logits_topics: row 0"):
        check_labels({HEAD.output: far}, {HEAD.output: under}, [HEAD], "here")


def test_macro_f1_may_move_as_far_as_labels_near_their_thresholds_allow() -> None:
    rows = [Row("x", "1", labels=("a", "b")), Row("y", "2", labels=()), Row("z", "3", labels=("b", "c"))]
    logits_NC = np.array([[3, EDGE + 5e-5, -3], [-9, -9, -9], [-9, 9, 9]], np.float32)
    exam = make_exam(HEAD, rows)
    assert exam is not None

    value, slack = exam.judge({HEAD.output: logits_NC})
    turned = logits_NC.copy()
    turned[0, 1] = EDGE - 5e-5

    assert (exam.metric, value) == ("macro_f1", 1.0)
    assert slack == pytest.approx((1 - 2 / 3) / 3)
    assert value - exam.judge({HEAD.output: turned})[0] == pytest.approx(slack)
    clear = logits_NC.copy()
    clear[0, 1] = 9
    assert exam.judge({HEAD.output: clear}) == (1.0, 0.0)


def test_the_exam_reads_the_manifests_labels_and_the_metric_of_the_report() -> None:
    rows = [Row("x", "1", labels=("a",)), Row("y", "2", labels=("c",))]
    logits_NC = np.array([[3, -9, -9], [-9, -9, 4]], np.float32)
    other = HEAD.model_copy(update={"labels": ["c", "b", "a"]})
    right, wrong = make_exam(HEAD, rows), make_exam(other, rows)
    assert right is not None
    assert wrong is not None

    given_NC = decisions(HEAD, logits_NC)

    assert right.judge({HEAD.output: logits_NC})[0] == macro_f1(label_figures(given_NC, given_NC)) == 1.0
    assert wrong.judge({HEAD.output: logits_NC})[0] == 0.0


def test_a_regression_decides_nothing_and_is_judged_by_its_error() -> None:
    head = ClassifyHead(name="stars", output="logits_stars", problem_type="regression", labels=["value"])
    values_N1 = np.array([[4.0], [100.0]], np.float32)
    exam = make_exam(head, [Row("x", "1", value=5.0), Row("y", "2", value=98.0)])
    assert exam is not None

    value, slack = exam.judge({head.output: values_N1})

    assert decisions(head, values_N1).shape == unsure(head, values_N1).shape == (2, 0)
    assert (exam.metric, value) == ("mae", 1.5)
    assert slack == pytest.approx(98e-4)


def test_a_difference_of_values_is_told_in_their_unit() -> None:
    want, got = {"logits_a": np.array([[1000.0]], np.float32)}, {"logits_a": np.array([[1000.01]], np.float32)}

    assert logits_difference(want, got, "here", units={"logits_a": 400.0}) == pytest.approx(0.01 / 400, rel=0.02)
    with pytest.raises(GateError, match="G05-logits"):
        logits_difference(want, got, "here")
