import numpy as np
import pytest

from app.api.schemas import ClassifyResponse
from app.bundle.scoring import probabilities
from app.types import Rows
from tests.fakes import Client, error_of, fake_row
from tests.stores import INTENT, INTENTS, TOPIC, TOPICS, byte_tokenizer


def raw(text: str, width: int) -> Rows:
    """What the graph gives for a text, as a batch of one."""
    return fake_row(np.array(byte_tokenizer().encode(text).ids, np.int32), width)[None]


def test_single_label_gives_label_scores_and_scope(client: Client) -> None:
    response = client.post("/classify", {"texts": ["one", "two"], "model": "intents"})

    body = response.json()
    probs_C = probabilities(INTENT, raw("two", len(INTENTS)))[0]
    order = np.argsort(-probs_C)[:5]
    assert response.status_code == 200
    assert (body["model"], body["version"], body["head"]) == ("intents", 1, "intent")
    assert body["problem_type"] == "single_label"
    assert body["usage"] == {"tokens": 10}
    assert body["predictions"][1] == {
        "label": INTENTS[order[0]],
        "score": pytest.approx(probs_C[order[0]]),
        "scores": [{"label": INTENTS[c], "score": pytest.approx(probs_C[c])} for c in order],
        "in_scope": bool(probs_C.max() >= 0.3),
    }


@pytest.mark.parametrize("model", ["intents", "topics", "stars"])
def test_answer_has_the_documented_shape(client: Client, model: str) -> None:
    body = client.post("/classify", {"texts": ["one", "two"], "model": model}).json()

    assert ClassifyResponse.model_validate(body).model_dump(exclude_unset=True) == body


def test_multi_label_gives_every_label_over_its_threshold(client: Client) -> None:
    (prediction,) = client.post("/classify", {"text": "hello", "model": "topics"}).json()["predictions"]

    probs = dict(zip(TOPICS, probabilities(TOPIC, raw("hello", 3))[0], strict=True))
    limits = {"sport": 0.2, "politics": 0.5, "music": 0.5}
    expected = [topic for topic in sorted(TOPICS, key=lambda topic: -probs[topic]) if probs[topic] >= limits[topic]]
    assert prediction["labels"] == expected


def test_regression_gives_the_value(client: Client) -> None:
    (prediction,) = client.post("/classify", {"text": "hello", "model": "stars"}).json()["predictions"]

    assert prediction == {"value": pytest.approx(raw("hello", 1)[0, 0])}


def test_top_k_threshold_and_raw_scores_are_heard(client: Client) -> None:
    wish = {"text": "one", "model": "intents", "top_k": 2, "threshold": 99.0, "raw_scores": True}

    (prediction,) = client.post("/classify", wish).json()["predictions"]

    best = sorted(raw("one", len(INTENTS))[0], reverse=True)
    assert prediction["label"] is None
    assert prediction["score"] == pytest.approx(best[0])
    assert [score["score"] for score in prediction["scores"]] == pytest.approx(best[:2])


def test_head_is_chosen_by_name(client: Client) -> None:
    body = client.post("/classify", {"text": "one", "model": "mixed", "head": "topic"}).json()

    assert (body["head"], body["problem_type"]) == ("topic", "multi_label")


def test_several_heads_and_none_named_are_listed(client: Client) -> None:
    response = client.post("/classify", {"text": "one", "model": "mixed"})

    assert (response.status_code, error_of(response)["code"]) == (422, "invalid_head")
    assert error_of(response)["message"].endswith("model mixed has the classify heads intent, topic")


@pytest.mark.parametrize("option", [{"top_k": 2}, {"threshold": 0.5}, {"raw_scores": True}], ids=str)
def test_regression_refuses_options_about_labels(client: Client, option: dict[str, object]) -> None:
    error = error_of(client.post("/classify", {"text": "one", "model": "stars"} | option))

    assert (error["code"], error["param"]) == ("unsupported_option", next(iter(option)))
