from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bundle.manifest import ClassifyHead, OutOfScope
from app.bundle.scope import Statistics
from app.bundle.scoring import probabilities
from app.tasks.classify import Options, finish

LABELS = ["a", "b", "c"]
PLAIN = Options(top_k=5, threshold=None, raw_scores=False)


def single(**fields: object) -> ClassifyHead:
    return head(problem_type="single_label", **fields)


def multi(**fields: object) -> ClassifyHead:
    return head(problem_type="multi_label", **fields)


def head(**fields: object) -> ClassifyHead:
    return ClassifyHead.model_validate({"name": "h", "output": "logits_h", "labels": LABELS} | fields)


def logits(*rows: list[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array(rows, np.float32)


def test_single_label_gives_the_best_label_and_sorted_calibrated_scores() -> None:
    (prediction,) = finish(single(temperature=2.0), logits([0.0, 4.0, 2.0]), PLAIN)

    (expected,) = probabilities(single(temperature=2.0), logits([0.0, 4.0, 2.0]))
    assert prediction == {
        "label": "b",
        "score": expected[1],
        "scores": [{"label": label, "score": expected[LABELS.index(label)]} for label in "bca"],
    }
    assert expected.sum() == pytest.approx(1)


def test_best_score_under_the_threshold_gives_no_label_and_stays() -> None:
    options = Options(top_k=1, threshold=0.9, raw_scores=False)

    (prediction,) = finish(single(), logits([0.0, 1.0, 0.0]), options)

    assert prediction["label"] is None
    assert prediction["score"] == pytest.approx(0.5761, abs=1e-4)


@pytest.mark.parametrize("shape", [single, multi], ids=["single label", "multi-label"])
def test_threshold_beyond_float32_is_met_by_no_score(shape: Callable[..., ClassifyHead]) -> None:
    (prediction,) = finish(shape(), logits([0.0, 1.0, 0.0]), Options(top_k=1, threshold=1e308, raw_scores=True))

    assert not prediction.get("label")
    assert not prediction.get("labels")


def test_shown_score_as_the_threshold_gives_its_label() -> None:
    (shown,) = finish(single(), logits([0.0, 1.0, 0.0]), PLAIN)

    (prediction,) = finish(
        single(), logits([0.0, 1.0, 0.0]), Options(top_k=1, threshold=float(str(shown["score"])), raw_scores=False)
    )

    assert prediction["label"] == "b"


def test_score_at_the_threshold_gives_its_label() -> None:
    (prediction,) = finish(single(), logits([2.0, 1.0, 0.0]), Options(top_k=1, threshold=2.0, raw_scores=True))

    assert prediction["label"] == "a"


def test_top_k_shows_that_many_scores() -> None:
    (prediction,) = finish(single(), logits([0.0, 4.0, 2.0]), Options(top_k=2, threshold=None, raw_scores=False))

    assert [score["label"] for score in prediction["scores"]] == ["b", "c"]  # type: ignore[attr-defined]  # a list


def test_raw_scores_are_the_logits() -> None:
    (prediction,) = finish(single(temperature=2.0), logits([0.0, 4.0, 2.0]), Options(1, None, raw_scores=True))

    assert prediction == {"label": "b", "score": 4.0, "scores": [{"label": "b", "score": 4.0}]}


@pytest.mark.parametrize(("best", "in_scope"), [(0.0, False), (5.0, True)], ids=["unsure", "sure"])
@pytest.mark.parametrize("raw_scores", [False, True])
def test_scope_is_told_by_the_best_probability(best: float, in_scope: bool, raw_scores: bool) -> None:
    rule = OutOfScope(score="max_probability", threshold=0.5)

    (prediction,) = finish(single(out_of_scope=rule), logits([best, 0.0, 0.0]), Options(1, None, raw_scores))

    assert prediction["in_scope"] is in_scope


@pytest.mark.parametrize(("logit", "in_scope"), [(1.9, False), (2.1, True)], ids=["below", "above"])
def test_scope_is_told_by_the_energy(logit: float, in_scope: bool) -> None:
    """One label stands out far enough for the sum to be its own logit."""
    rule = OutOfScope(score="energy", threshold=2.0)

    (prediction,) = finish(single(out_of_scope=rule), logits([logit, -99.0, -99.0]), PLAIN)

    assert prediction["in_scope"] is in_scope


@pytest.mark.parametrize(("x", "in_scope"), [(5.5, True), (3.0, False)], ids=["near the second class", "between"])
def test_scope_is_told_by_the_distance_to_the_nearest_class(x: float, in_scope: bool) -> None:
    """Means at 0 and 6 after whitening, which halves the second dimension away."""
    statistics = Statistics(np.array([[1.0], [0.0]], np.float32), np.array([[0.0], [6.0], [6.0]], np.float32))
    head = single(out_of_scope=OutOfScope(score="mahalanobis", threshold=-1.0))

    (prediction,) = finish(head, logits([0.0, 1.0, 2.0]), PLAIN, np.array([[x, 99.0]], np.float32), statistics)

    assert prediction["in_scope"] is in_scope


def test_multi_label_uses_the_fitted_threshold_of_each_label() -> None:
    prediction = finish(multi(thresholds={"a": 0.2, "b": 0.9}), logits([-1.0, 1.0, 0.5]), PLAIN)[0]

    assert prediction["labels"] == ["c", "a"]


@pytest.mark.parametrize("raw_scores", [False, True])
def test_multi_label_gives_the_same_labels_with_raw_scores(raw_scores: bool) -> None:
    fitted = multi(thresholds={"a": 0.2, "b": 0.9}, temperature=3.0)

    prediction = finish(fitted, logits([-4.0, 6.0, 0.1]), Options(3, None, raw_scores))[0]

    assert prediction["labels"] == ["c", "a"]


def test_callers_threshold_replaces_the_fitted_ones() -> None:
    options = Options(top_k=3, threshold=0.5, raw_scores=False)

    prediction = finish(multi(thresholds={"a": 0.2, "b": 0.9}), logits([-1.0, 1.0, 0.5]), options)[0]

    assert prediction["labels"] == ["b", "c"]


def test_regression_gives_the_value() -> None:
    stars = head(problem_type="regression", labels=["stars"])

    assert finish(stars, logits([3.5], [1.25]), PLAIN) == [{"value": 3.5}, {"value": 1.25}]


def test_regression_of_several_values_names_them() -> None:
    both = head(problem_type="regression", labels=["price", "quality"])

    assert finish(both, logits([3.5, 1.0]), PLAIN) == [{"value": {"price": 3.5, "quality": 1.0}}]


@given(row=st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), top_k=st.integers(1, 9))
def test_scores_are_sorted_and_the_first_is_the_labels(row: list[float], top_k: int) -> None:
    (prediction,) = finish(single(), logits(row), Options(top_k, None, raw_scores=False))

    scores = prediction["scores"]
    assert isinstance(scores, list)
    assert len(scores) == min(top_k, 3)
    assert [s["score"] for s in scores] == sorted((s["score"] for s in scores), reverse=True)
    assert (prediction["label"], prediction["score"]) == (scores[0]["label"], scores[0]["score"])
