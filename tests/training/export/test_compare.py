import numpy as np
import pytest

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead
from training.errors import GateError
from training.export.compare import (
    check_finite,
    check_labels,
    check_shapes,
    logits_difference,
    vector_difference,
)
from training.export.decisions import margins

ONE = ClassifyHead(name="a", output="logits_a", problem_type="single_label", labels=["x", "y", "z"])
VECTORS = np.array([[3.0, 4.0], [1.0, 0.0]], np.float32)
LOGITS = np.array([[1.0, 2.0, 3.0], [0.5, 0.50001, -1.0]], np.float32)


def test_differences_are_told_within_the_limits() -> None:
    want = {EMBEDDING_OUTPUT: VECTORS, "logits_a": LOGITS}
    got = {EMBEDDING_OUTPUT: VECTORS, "logits_a": LOGITS + np.float32(5e-5)}

    assert vector_difference(want, got, "here") == 0.0
    assert logits_difference(want, got, "here") == pytest.approx(5e-5, rel=0.02)
    assert logits_difference({EMBEDDING_OUTPUT: VECTORS}, {EMBEDDING_OUTPUT: VECTORS}, "here") is None


def test_vectors_in_another_direction_are_refused_with_row_and_limit() -> None:
    got = VECTORS + np.array([[0, 0], [0, 1e-3]], np.float32)

    with pytest.raises(GateError, match=r"^G04-vectors: here: unit vectors differ by 1\.0e-03 in row 1; .* 1e-05$"):
        vector_difference({EMBEDDING_OUTPUT: VECTORS}, {EMBEDDING_OUTPUT: got}, "here")


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(GateError, match="norms of the vectors"):
        vector_difference({EMBEDDING_OUTPUT: VECTORS}, {EMBEDDING_OUTPUT: VECTORS * 1.001}, "here")


def test_logits_over_the_limit_are_refused() -> None:
    with pytest.raises(GateError, match="G05-logits"):
        logits_difference({"logits_a": LOGITS}, {"logits_a": LOGITS + np.float32(2e-4)}, "here")


def test_labels_may_change_only_where_two_are_as_good_as_equal() -> None:
    close = LOGITS[:, [0, 1, 2]].copy()
    close[1] = [0.50001, 0.5, -1.0]
    changed = LOGITS[:, ::-1]

    check_labels({"logits_a": LOGITS}, {"logits_a": close}, [ONE], "here")
    with pytest.raises(GateError, match="G06-labels: here: logits_a: row 0"):
        check_labels({"logits_a": LOGITS}, {"logits_a": changed}, [ONE], "here")


def test_a_single_label_is_never_too_close_to_call() -> None:
    assert margins(np.zeros((2, 1), np.float32)).tolist() == [np.inf, np.inf]
    assert margins(LOGITS) == pytest.approx([1.0, 1e-5], abs=1e-6)


def test_other_outputs_or_shapes_are_refused() -> None:
    with pytest.raises(GateError, match="G01-shapes"):
        check_shapes({"a": VECTORS}, {"b": VECTORS}, "here")
    with pytest.raises(GateError, match="G01-shapes"):
        check_shapes({"a": VECTORS}, {"a": VECTORS[:1]}, "here")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_with_its_row(value: float) -> None:
    spoilt = VECTORS.copy()
    spoilt[1, 1] = value

    with pytest.raises(GateError, match="G02-finite: here: a of the graph is not finite in row 1"):
        check_finite({"a": spoilt}, "here", "graph")
