"""What happens to the texts, or the vectors, of one request between the body and the answer?

`gate` is asked before a body is read, `run` once it is valid: estimate → admit → tokenise → reserve → submit. Shedding
happens before any real work, on what is already inside; a newcomer counts by its bytes at first, by its tokens after
encoding. A request ends exactly once: answered, refused, failed or expired. Cancelling `run` drops what has not run.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from app.batching.admission import Admission, Board, Ticket
from app.encoding.gather import Gatherer
from app.encoding.tokenizer import Truncate, parts, size_bytes
from app.encoding.vectors import VectorReader
from app.errors import (
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    NotReadyError,
    OverloadedError,
    RequestTooLargeError,
)
from app.serving.catalog import ServedModel
from app.serving.interrupt import Interruptible
from app.settings import Settings
from app.telemetry import metrics
from app.telemetry.logging import RequestRecord
from app.types import ANYONE, Answer, Clock, Cost, Encoding, Engine, Flow, ModelKey, Rows, Work

# Up to here tokenising takes about a millisecond (2 to 4 MB/s), less than handing it to a thread is worth under load;
# beyond, it would hold up every other request of this front end.
INLINE_BYTES = 2048
# Some 30 ms of a thread, which nobody can stop: a request that ended leaves no more than this behind.
PART_BYTES = 2**16
TURN_NUMBERS = 2**15  # of vectors: some 2 ms


@dataclass(frozen=True, slots=True)
class Ask:
    """Texts for one model, or, for one that reads numbers, rows of them; and how they are to be read."""

    model: ServedModel
    texts: Sequence[str]
    truncate: Truncate
    timeout_ms: int | None
    outputs: Sequence[str] = ()  # of the graph; all of them if none is named
    flow: Flow = ANYONE
    vectors: Sequence[object] | None = None  # instead of texts


@dataclass(frozen=True, slots=True)
class Result:
    """The graph's outputs by name, row i for text i, and what the model read of each text."""

    outputs: Mapping[str, Rows]
    encodings: Sequence[Encoding]

    @property
    def tokens(self) -> int:
        """Tokens read, all texts together."""
        return sum(encoding.tokens for encoding in self.encodings)


class Service:
    """The way of a request through one front end. Lives on the event loop's thread."""

    def __init__(
        self, engine: Engine, settings: Settings, *, board: Board | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._engine = engine
        self._limits = settings.limits
        self._timeout_ms = settings.timeout_ms
        self._admission = Admission(max_wait_ms=settings.admission.max_wait_ms, board=board)
        self._gatherer = Gatherer()
        self._clock = clock
        self._is_draining = False

    def drain(self) -> None:
        """Be not ready from now on, so that balancers send no more; what still arrives is answered."""
        self._is_draining = True

    def check_ready(self) -> None:
        """Return if requests can be answered.

        Raises:
            NotReadyError: says why not.
        """
        if self._is_draining:
            raise NotReadyError(
                "the service is shutting down; send the request to another replica", retry_after_ms=1000
            )
        status = self._engine.status()
        if status.refusal is not None:
            raise NotReadyError(f"the engine does not start: {status.refusal}", retry_after_ms=1000)
        if not status.is_ready:
            raise NotReadyError("the engine is starting; retry in a moment", retry_after_ms=1000)

    def gate(self, principal: str) -> None:
        """Return if a request of `principal` that comes now would be let in. Costs microseconds: ask first of all.

        Its priority stands in its body; here it is taken for an interactive one.

        Raises:
            OverloadedError: the predicted wait is over the limit.
        """
        try:
            self._admission.check(Flow(principal, "interactive"))
        except OverloadedError:
            metrics.child(metrics.shed_total, "predicted_wait").inc()
            raise

    async def run(self, ask: Ask, record: RequestRecord) -> Result:
        """The raw outputs for every text of `ask`; fills in the counts of `record`.

        Raises:
            ApiError: refused, failed or expired; the classes of app/errors.py say which.
        """
        timeout_ms = self._timeout(ask.timeout_ms)
        deadline_s = self._clock() + timeout_ms / 1000
        self._check_count(ask)
        cost = self._cost(ask.model.key)
        try:
            with (
                self._admit(ask, cost, timeout_ms) as ticket,
                Interruptible(_expired, after_s=deadline_s - self._clock()),
            ):
                encodings = await self._tokenise(ask)
                tokens = self._check_tokens(ask, encodings)
                ticket.reserve(tokens, cost)
                _count(record, ask.model.key.name, encodings, tokens)
                rows = [one.ids for one in encodings]
                answer = await self._engine.submit(Work(ask.model.key, rows, deadline_s, ask.flow, ask.outputs))
                ticket.waited(1000 * answer.timing.queue_s)
        except DeadlineExceededError:
            metrics.expired_total.inc()
            raise
        metrics.child(metrics.queue_seconds, ask.model.key.name).observe(answer.timing.queue_s)
        _check_finite(answer)
        return Result(answer.outputs, encodings)

    def _timeout(self, asked_ms: int | None) -> int:
        if asked_ms is not None and asked_ms > self._timeout_ms:
            message = f"`timeout_ms` is {asked_ms}; the service gives at most {self._timeout_ms}, which is the default"
            raise InvalidRequestError(message, param="timeout_ms")
        return asked_ms or self._timeout_ms

    def _check_count(self, ask: Ask) -> None:
        rows, name = (ask.texts, "texts") if ask.vectors is None else (ask.vectors, "vectors")
        if len(rows) > self._limits.texts:
            message = f"the request has {len(rows)} {name}; the service takes {self._limits.texts}; send it in parts"
            raise RequestTooLargeError(message, param=name)
        for index, text in enumerate(ask.texts):
            if (size := size_bytes(text)) > self._limits.text_bytes:
                message = (
                    f"text {index} has {size} bytes; the service takes {self._limits.text_bytes}; send it in parts"
                )
                raise RequestTooLargeError(message, param=f"texts[{index}]", index=index)

    def _cost(self, key: ModelKey) -> Cost:
        # Not asked: whether the engine is ready. One that died is back in seconds, and what waits is answered then.
        cost = next((model.cost for model in self._engine.status().models if model.key == key), None)
        if cost is None:
            raise NotReadyError(f"the engine of {key} is starting; retry in a moment", retry_after_ms=1000)
        return cost

    def _admit(self, ask: Ask, cost: Cost, timeout_ms: float) -> Ticket:
        encoder = ask.model.encoder
        if isinstance(encoder, VectorReader):
            tokens = encoder.estimate_tokens(ask.vectors or ())
        else:
            tokens = encoder.estimate_tokens(ask.texts)
        try:
            return self._admission.admit(tokens, cost, ask.flow, timeout_ms=timeout_ms)
        except OverloadedError:
            metrics.child(metrics.shed_total, "predicted_wait").inc()
            raise

    async def _tokenise(self, ask: Ask) -> list[Encoding]:
        encoder = ask.model.encoder
        if isinstance(encoder, VectorReader):
            return await _read_vectors(encoder, ask)
        started_s = time.perf_counter()
        try:
            if sum(map(size_bytes, ask.texts)) <= INLINE_BYTES:
                return await self._gatherer.encode(encoder, ask.texts, ask.truncate)
            encodings: list[Encoding] = []
            for part in parts(ask.texts, PART_BYTES):
                encode = partial(encoder.encode, part, ask.truncate, first=len(encodings))
                encodings += await asyncio.to_thread(encode)
            return encodings
        finally:
            metrics.tokenize_seconds.observe(time.perf_counter() - started_s)

    def _check_tokens(self, ask: Ask, encodings: Sequence[Encoding]) -> int:
        tokens = sum(encoding.tokens for encoding in encodings)
        if tokens > self._limits.request_tokens:
            limit = self._limits.request_tokens
            what, param = ("tokens", "texts") if ask.vectors is None else ("vectors", "vectors")
            message = f"the request has {tokens} {what} in all; the service takes {limit}; send it in parts"
            raise RequestTooLargeError(message, param=param)
        return tokens


async def _read_vectors(reader: VectorReader, ask: Ask) -> list[Encoding]:
    """The rows of numbers, with a turn of the event loop after some milliseconds' worth of them. Numpy needs the
    interpreter for lists, so a thread would free nobody.
    """
    encodings: list[Encoding] = []
    rows, turn = ask.vectors or (), 0
    for index, row in enumerate(rows):
        encodings += reader.encode([row], ask.truncate, first=index)
        turn += encodings[-1].ids.size
        if turn > TURN_NUMBERS:
            turn = 0
            await asyncio.sleep(0)
    return encodings


def _expired() -> DeadlineExceededError:
    """The deadline ends whatever runs: tokenising too, and an engine that says nothing."""
    return DeadlineExceededError("the deadline passed before the answer was there; allow more time")


def _count(record: RequestRecord, model: str, encodings: Sequence[Encoding], tokens: int) -> None:
    record.texts, record.tokens = len(encodings), tokens
    metrics.child(metrics.texts_total, model).inc(len(encodings))
    if truncated := sum(encoding.truncated for encoding in encodings):
        metrics.truncated_total.labels(model).inc(truncated)


def _check_finite(answer: Answer) -> None:
    """Refuse to pass on what is no number: JSON would show it as null."""
    for rows_BD in answer.outputs.values():
        if not np.isfinite(rows_BD).all():
            index = int(np.flatnonzero(~np.isfinite(rows_BD).all(axis=1))[0])
            raise EngineFailedError(f"the model gave no finite numbers for text {index}", index=index)
