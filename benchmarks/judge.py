"""Is an answer right?

In full: as many vectors as texts, each of the model's dimensions, the token count of each text, and – where the right
vectors are known – each within `MIN_COSINE` of its own. That costs some 40 µs of a core that the service needs, so of
the other answers only the bytes are looked at: the token count of this very text must stand in them, and all else must
be as long as in answers that were read in full. What fails the quick look is read in full.

n texts of a request, D values of a vector.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.ledger import Outcome
from benchmarks.wire import Reply, post

MIN_COSINE = 0.999  # the right vector of another batch; that of another text is far below

Dialect = Literal["native", "openai"]
Format = Literal["json", "base64", "bytes"]
Vectors = NDArray[np.float32]  # [n, D]
OCTETS = "application/octet-stream"


class WrongAnswerError(Exception):
    """Why a 200 is not the right answer; one of a few fixed reasons."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request as bytes, and what a right answer says. No `tokens`: the service does not count as the model does."""

    request: bytes
    texts: int
    tokens: tuple[int, ...] | None
    vectors: Vectors | None = None


def ask(model: str, texts: Sequence[str], dialect: Dialect, form: Format) -> bytes:
    """The request that asks for the vectors of `texts`."""
    if dialect == "openai":
        body: dict[str, object] = {"model": model, "input": list(texts) if len(texts) > 1 else texts[0]}
        return post("/v1/embeddings", orjson.dumps(body | ({"encoding_format": "base64"} if form == "base64" else {})))
    body = {"model": model} | ({"text": texts[0]} if len(texts) == 1 else {"texts": list(texts)})
    accept = OCTETS if form == "bytes" else "application/json"
    return post("/embed", orjson.dumps(body | ({"format": "base64"} if form == "base64" else {})), accept)


class Judge:
    """Judges the answers of one load: one dialect, one format, one model."""

    def __init__(self, dimensions: int, dialect: Dialect, form: Format) -> None:
        self._dimensions, self._form = dimensions, form
        self._read: Callable[[bytes, Question], Vectors] = {"native": self._native, "openai": self._openai}[dialect]
        self._frame: dict[int, tuple[int, int]] = {}  # by number of texts: commas, and bytes besides counts and values

    def judge(self, question: Question, reply: Reply) -> tuple[Outcome, str]:
        """The outcome, and the reason if it is not RIGHT."""
        if reply.status != 200:
            return _refused(reply), str(reply.status)
        if question.vectors is None and self._looks_right(question, reply.body):
            return Outcome.RIGHT, ""
        try:
            self._check(question, reply.body)
        except WrongAnswerError as error:
            return Outcome.WRONG, str(error)
        return Outcome.RIGHT, ""

    def _looks_right(self, question: Question, body: bytes) -> bool:
        if self._form == "bytes":
            return len(body) == 4 * question.texts * self._dimensions
        if question.tokens is None:
            return False
        frame = self._frame.get(question.texts)
        return frame == self._measure(question.tokens, body) and b'"tokens":%d}' % sum(question.tokens) in body[-64:]

    def _measure(self, tokens: Sequence[int], body: bytes) -> tuple[int, int]:
        digits = len(str(sum(tokens))) + sum(len(str(count)) for count in tokens)
        return body.count(b","), len(body) - digits if self._form == "base64" else 0

    def _check(self, question: Question, body: bytes) -> None:
        vectors_nD = self._octets(body, question) if self._form == "bytes" else self._read(body, question)
        if vectors_nD.shape != (question.texts, self._dimensions):
            raise WrongAnswerError("not a vector of the model's dimensions for each text")
        if question.vectors is not None and _cosine(vectors_nD, question.vectors) < MIN_COSINE:
            raise WrongAnswerError("not the vector of this text")
        if question.tokens is not None and self._form != "bytes":
            self._frame[question.texts] = self._measure(question.tokens, body)

    def _native(self, body: bytes, question: Question) -> Vectors:
        try:
            answer = orjson.loads(body)
            if question.tokens is not None and tuple(item["tokens"] for item in answer["items"]) != question.tokens:
                raise WrongAnswerError("the token counts of other texts")
            return self._stack(answer["embeddings"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise WrongAnswerError("not an answer of /embed") from error

    def _openai(self, body: bytes, question: Question) -> Vectors:
        try:
            data: Sequence[Mapping[str, Sequence[float] | str]] = orjson.loads(body)["data"]
            return self._stack([one["embedding"] for one in data])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise WrongAnswerError("not an answer of /v1/embeddings") from error

    def _stack(self, vectors: Sequence[Sequence[float] | str]) -> Vectors:
        try:
            rows = [base64.b64decode(v, validate=True) if isinstance(v, str) else v for v in vectors]
            return np.stack([np.frombuffer(v, "<f4") if isinstance(v, bytes) else np.asarray(v, "<f4") for v in rows])
        except (ValueError, binascii.Error) as error:
            raise WrongAnswerError("not a vector of the model's dimensions for each text") from error

    def _octets(self, body: bytes, question: Question) -> Vectors:
        if len(body) != 4 * question.texts * self._dimensions:
            raise WrongAnswerError("not a vector of the model's dimensions for each text")
        return np.frombuffer(body, "<f4").reshape(question.texts, self._dimensions)


def _refused(reply: Reply) -> Outcome:
    """A 503 that names no time to come back is no refusal under load: something failed."""
    if reply.status == 429 or (reply.status == 503 and reply.retry_after_s is not None):
        return Outcome.SHED
    if reply.status == 504:
        return Outcome.EXPIRED
    return Outcome.REFUSED if 400 <= reply.status < 500 else Outcome.FAILED


def _cosine(found_nD: Vectors, wanted_nD: Vectors) -> float:
    """The worst of the rows; -1 for a row that has no direction."""
    if not np.isfinite(found_nD).all():
        return -1.0
    norms = np.linalg.norm(found_nD, axis=1) * np.linalg.norm(wanted_nD, axis=1)
    return float(np.min(np.where(norms > 0, np.sum(found_nD * wanted_nD, axis=1) / np.maximum(norms, 1e-30), -1.0)))
