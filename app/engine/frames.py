r"""How do front ends and the engine talk?

Fixed little-endian frames over a Unix socket: a header of 8 bytes (length of the body, kind, wire version), then the
body. Requests carry token ids or vectors, answers raw float32 rows; text never crosses, and nothing is unpickled. Both
ends are ours and of one version: a frame that does not fit is a bug or an intruder, and ends the connection
(`FrameError`).

    WORK    id u64 | deadline f64 | model u16 | bulk u8 | rows u32 | size of principal u16 | size of outputs u16 |
            width u32 | principal | outputs, by "\0" | lengths u32[rows] |
            ids i32[sum of lengths], or, where the width is not 0, vectors f32[sum of lengths * width]
    ANSWER  id u64 | queue_s f32 | run_s f32 | rows u32 | outputs u16 | (name u16+bytes | width u32 | f32[rows*width])…
    FAILURE id u64 | error u16 | index i32 (-1: none) | message u16+bytes
    CANCEL  id u64
    STATUS  JSON of `EngineStatus`; its models in the order that WORK counts them in

Deadlines are `time.monotonic()` of this machine, the same clock in every process.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np

from app.errors import ApiError, table
from app.types import (
    Answer,
    Cost,
    EngineStatus,
    Flow,
    Ids,
    ModelKey,
    ModelStatus,
    PlanFigures,
    PlanStatus,
    Rows,
    Timing,
    Vectors,
    Work,
)

WIRE_VERSION = 3
HEADER = struct.Struct("<IHH")
MAX_BODY_BYTES = 2**30  # 65,536 rows of 4,096 float32 values
_WORK = struct.Struct("<QdHBIHHI")
_ANSWER = struct.Struct("<QffIH")
_FAILURE = struct.Struct("<QHiH")
_ID = struct.Struct("<Q")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
TEXT_MAX_BYTES = 65_535  # of a text with its length in front
SEPARATOR = "\0"  # between names of outputs

ERRORS = table()  # an error crosses as its place in the closed table


class Kind(IntEnum):
    """What a frame holds."""

    WORK = 1
    ANSWER = 2
    FAILURE = 3
    CANCEL = 4
    STATUS = 5


KINDS = frozenset(Kind)


class FrameError(Exception):
    """The bytes are not a frame of this version."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that failed, as it crosses the wire."""

    id: int
    error: ApiError


def frame(kind: Kind, body: bytes) -> bytes:
    """A body with its header."""
    return HEADER.pack(len(body), kind, WIRE_VERSION) + body


def read_header(data: bytes) -> tuple[int, Kind]:
    """Length of the body and kind of the frame.

    Raises:
        FrameError: unknown kind or version, or a length no honest peer sends.
    """
    size, kind, version = HEADER.unpack(data)
    if version != WIRE_VERSION or size > MAX_BODY_BYTES or kind not in KINDS:
        raise FrameError(f"bad frame header: {size} bytes, kind {kind}, version {version}")
    return size, Kind(kind)


class FrameReader:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Kind and body of every frame that `data` completes.

        Raises:
            FrameError: the peer is none of ours; nothing that follows can be read.
        """
        data, at = self._rest + data if self._rest else data, 0
        while len(data) - at >= HEADER.size:
            size, kind = read_header(data[at : at + HEADER.size])
            end = at + HEADER.size + size
            if end > len(data):
                break
            yield kind, data[at + HEADER.size : end]
            at = end
        self._rest = data[at:]


def pack_work(id: int, work: Work, models: Sequence[ModelKey]) -> bytes:
    """A WORK frame. `models` is the order of the engine's last STATUS."""
    lengths = np.fromiter((len(row) for row in work.rows), np.uint32, len(work.rows))
    who = work.flow.principal.encode()[:TEXT_MAX_BYTES]
    what = SEPARATOR.join(work.outputs).encode()
    is_bulk = work.flow.priority == "bulk"
    width = work.rows[0].shape[1] if work.rows and work.rows[0].ndim == 2 else 0
    model, rows = models.index(work.model), len(work.rows)
    head = _WORK.pack(id, work.deadline_s, model, is_bulk, rows, len(who), len(what), width)
    return frame(Kind.WORK, b"".join((head, who, what, lengths.tobytes(), *(row.tobytes() for row in work.rows))))


def unpack_work(body: bytes, models: Sequence[ModelKey]) -> tuple[int, Work]:
    """The request of a WORK frame; its rows are views into `body`."""
    try:
        id, deadline_s, model, is_bulk, count, who, what, width = _WORK.unpack_from(body)
        at = _WORK.size + who
        rows = _read_vectors(body, at + what, count, width) if width else _read_rows(body, at + what, count)
        flow = _flow(body[_WORK.size : at], is_bulk)
        return id, Work(models[model], rows, deadline_s, flow, _outputs(body[at : at + what]))
    except (struct.error, ValueError, IndexError) as error:
        raise FrameError(f"bad work frame: {error}") from error


def pack_answer(id: int, answer: Answer) -> bytes:
    """An ANSWER frame."""
    rows = len(next(iter(answer.outputs.values())))
    parts = [_ANSWER.pack(id, answer.timing.queue_s, answer.timing.run_s, rows, len(answer.outputs))]
    for name, rows_BD in answer.outputs.items():
        parts += [_text(name), _U32.pack(rows_BD.shape[1]), rows_BD.astype("<f4", copy=False).tobytes()]
    return frame(Kind.ANSWER, b"".join(parts))


def unpack_answer(body: bytes) -> tuple[int, Answer]:
    """The answer of an ANSWER frame; its rows are views into `body`."""
    try:
        id, queue_s, run_s, rows, count = _ANSWER.unpack_from(body)
        at, outputs = _ANSWER.size, {}
        for _ in range(count):
            name, at = _read_text(body, at)
            (width,) = _U32.unpack_from(body, at)
            values: Rows = np.frombuffer(body, np.float32, rows * width, at + 4).reshape(rows, width)
            outputs[name] = values
            at += 4 + values.nbytes
        return id, Answer(outputs, Timing(queue_s, run_s))
    except (struct.error, ValueError) as error:
        raise FrameError(f"bad answer frame: {error}") from error


def pack_failure(id: int, error: ApiError) -> bytes:
    """A FAILURE frame."""
    index = -1 if error.index is None else error.index
    message = error.message.encode()[:60_000]
    return frame(Kind.FAILURE, _FAILURE.pack(id, ERRORS.index(type(error)), index, len(message)) + message)


def unpack_failure(body: bytes) -> Failure:
    """The failure of a FAILURE frame."""
    try:
        id, error, index, size = _FAILURE.unpack_from(body)
        message = body[_FAILURE.size : _FAILURE.size + size].decode()
        return Failure(id, ERRORS[error](message, index=None if index < 0 else index))
    except (struct.error, ValueError, IndexError) as error:
        raise FrameError(f"bad failure frame: {error}") from error


def pack_cancel(id: int) -> bytes:
    """A CANCEL frame."""
    return frame(Kind.CANCEL, _ID.pack(id))


def unpack_cancel(body: bytes) -> int:
    """The request that a CANCEL frame drops."""
    try:
        return int(_ID.unpack(body)[0])
    except struct.error as error:
        raise FrameError(f"bad cancel frame: {error}") from error


def pack_status(status: EngineStatus) -> bytes:
    """A STATUS frame."""
    return frame(Kind.STATUS, json.dumps(asdict(status)).encode())


def unpack_status(body: bytes) -> EngineStatus:
    """The status of a STATUS frame."""
    try:
        data = json.loads(body)
        models = [_model_status(model) for model in data["models"]]
        return EngineStatus(bool(data["is_ready"]), models, float(data["oldest_batch_s"]))
    except (ValueError, KeyError, TypeError) as error:
        raise FrameError(f"bad status frame: {error}") from error


def _read_rows(body: bytes, at: int, count: int) -> list[Ids]:
    if count == 1:  # the commonest request, without the arrays around it
        (length,) = _U32.unpack_from(body, at)
        return [np.frombuffer(body, np.int32, length, at + _U32.size)]
    lengths = np.frombuffer(body, np.uint32, count, at)
    ids = np.frombuffer(body, np.int32, int(lengths.sum()), at + lengths.nbytes)
    return np.split(ids, np.cumsum(lengths[:-1])) if count else []


def _read_vectors(body: bytes, at: int, count: int, width: int) -> list[Vectors]:
    lengths = np.frombuffer(body, np.uint32, count, at)
    values = np.frombuffer(body, np.float32, int(lengths.sum()) * width, at + lengths.nbytes).reshape(-1, width)
    return np.split(values, np.cumsum(lengths[:-1])) if count else []


@lru_cache  # the same few come again and again
def _flow(principal: bytes, is_bulk: int) -> Flow:
    return Flow(principal.decode(), "bulk" if is_bulk else "interactive")


@lru_cache
def _outputs(names: bytes) -> Sequence[str]:
    return tuple(names.decode().split(SEPARATOR)) if names else ()


def _model_status(data: dict[str, Any]) -> ModelStatus:
    plan = data["plan"]
    if plan is not None:
        plan = PlanStatus(plan["name"], plan["reason"], [PlanFigures(**figures) for figures in plan["figures"]])
    return ModelStatus(ModelKey(**data["key"]), data["device"], data["precision"], Cost(**data["cost"]), plan)


def _text(value: str) -> bytes:
    data = value.encode()[:TEXT_MAX_BYTES]
    return _U16.pack(len(data)) + data


def _read_text(body: bytes, at: int) -> tuple[str, int]:
    (size,) = _U16.unpack_from(body, at)
    return body[at + 2 : at + 2 + size].decode(), at + 2 + size
