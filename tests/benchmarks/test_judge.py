"""Right answers are told from every kind of wrong one, in each format."""

import base64

import numpy as np
import orjson
import pytest

from benchmarks.judge import Format, Judge, Question, Vectors, ask
from benchmarks.ledger import Outcome
from benchmarks.wire import Reply

D = 8
RNG = np.random.default_rng(1)
VECTORS_nD: Vectors = RNG.standard_normal((3, D)).astype(np.float32)


def body(vectors_nD: Vectors, tokens: list[int], form: Format) -> bytes:
    """An answer of the service."""
    if form == "bytes":
        return vectors_nD.astype("<f4").tobytes()
    rows: list[object] = [row.tolist() for row in vectors_nD]
    if form == "base64":
        rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors_nD]
    items = [{"tokens": count, "truncated": False} for count in tokens]
    return orjson.dumps({"model": "m", "embeddings": rows, "items": items, "usage": {"tokens": sum(tokens)}})


def question(tokens: tuple[int, ...], vectors_nD: Vectors | None = None) -> Question:
    return Question(b"", len(tokens), tokens, vectors_nD)


@pytest.mark.parametrize("form", ["json", "base64", "bytes"])
def test_a_right_answer_is_right(form: Format) -> None:
    judge = Judge(D, "native", form)
    reply = Reply(200, body(VECTORS_nD, [4, 5, 6], form))

    assert judge.judge(question((4, 5, 6), VECTORS_nD), reply) == (Outcome.RIGHT, "")
    assert judge.judge(question((4, 5, 6)), reply) == (Outcome.RIGHT, "")


@pytest.mark.parametrize("form", ["json", "base64", "bytes"])
def test_the_rows_of_other_texts_are_wrong(form: Format) -> None:
    reply = Reply(200, body(VECTORS_nD[::-1], [4, 5, 6], form))

    verdict = Judge(D, "native", form).judge(question((4, 5, 6), VECTORS_nD), reply)

    assert verdict == (Outcome.WRONG, "not the vector of this text")


@pytest.mark.parametrize("form", ["json", "base64"])
@pytest.mark.parametrize("known", [True, False], ids=["nothing read before", "after a right answer"])
def test_the_quick_look_finds_the_answer_to_another_text(form: Format, known: bool) -> None:
    judge = Judge(D, "native", form)
    if known:
        assert judge.judge(question((7,)), Reply(200, body(VECTORS_nD[:1], [7], form)))[0] is Outcome.RIGHT

    verdict = judge.judge(question((12,)), Reply(200, body(VECTORS_nD[:1], [13], form)))

    assert verdict == (Outcome.WRONG, "the token counts of other texts")


@pytest.mark.parametrize("form", ["json", "base64", "bytes"])
def test_a_vector_of_another_length_is_wrong(form: Format) -> None:
    judge = Judge(D, "native", form)
    judge.judge(question((7,)), Reply(200, body(VECTORS_nD[:1], [7], form)))

    verdict = judge.judge(question((7,)), Reply(200, body(VECTORS_nD[:1, :-1], [7], form)))

    assert verdict == (Outcome.WRONG, "not a vector of the model's dimensions for each text")


def test_a_value_that_is_no_number_is_wrong() -> None:
    broken_nD = VECTORS_nD[:1].copy()
    broken_nD[0, 3] = np.nan

    verdict = Judge(D, "native", "base64").judge(
        question((7,), VECTORS_nD[:1]), Reply(200, body(broken_nD, [7], "base64"))
    )

    assert verdict == (Outcome.WRONG, "not the vector of this text")


@pytest.mark.parametrize("broken", [b"", b"<html>", b"{}", b"[]", b'{"embeddings": [1], "items": []}'])
def test_what_is_no_answer_is_wrong(broken: bytes) -> None:
    outcome, _ = Judge(D, "native", "json").judge(question((7,)), Reply(200, broken))

    assert outcome is Outcome.WRONG


def test_answers_of_other_servers_are_read_too() -> None:
    rows = [{"index": index, "embedding": row.tolist()} for index, row in enumerate(VECTORS_nD)]
    reply = Reply(200, orjson.dumps({"data": rows, "usage": {"prompt_tokens": 99}}))
    judge = Judge(D, "openai", "json")

    assert judge.judge(Question(b"", 3, None, VECTORS_nD), reply) == (Outcome.RIGHT, "")
    assert judge.judge(Question(b"", 3, None, VECTORS_nD[::-1]), reply)[0] is Outcome.WRONG
    assert judge.judge(Question(b"", 2, None), reply)[0] is Outcome.WRONG


def test_requests_ask_in_the_dialect_and_the_format() -> None:
    def asked(request: bytes) -> tuple[bytes, dict[str, object]]:
        head, _, rest = request.partition(b"\r\n\r\n")
        return head.split(b"\r\n")[0], orjson.loads(rest)

    assert asked(ask("m", ["a"], "native", "base64")) == (
        b"POST /embed HTTP/1.1",
        {"model": "m", "text": "a", "format": "base64"},
    )
    assert asked(ask("m", ["a", "b"], "native", "json"))[1] == {"model": "m", "texts": ["a", "b"]}
    assert b"accept: application/octet-stream" in ask("m", ["a"], "native", "bytes")
    assert asked(ask("m", ["a"], "openai", "json")) == (
        b"POST /v1/embeddings HTTP/1.1",
        {"model": "m", "input": "a"},
    )
