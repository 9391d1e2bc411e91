from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from app.engine import frames
from app.engine.frames import HEADER, WIRE_VERSION, FrameError, FrameReader, Kind
from app.errors import TextTooLongError
from app.types import Answer, Cost, EngineStatus, Flow, ModelKey, ModelStatus, PlanFigures, PlanStatus, Timing, Work

MODELS = [ModelKey("a", 1), ModelKey("b", 12)]


def body_of(data: bytes, kind: Kind) -> bytes:
    size, found = frames.read_header(data[: HEADER.size])
    assert (size, found) == (len(data) - HEADER.size, kind)
    return data[HEADER.size :]


@given(
    id=st.integers(0, 2**64 - 1),
    model=st.sampled_from(MODELS),
    rows=st.lists(npst.arrays(np.int32, st.integers(1, 40)), min_size=1, max_size=20),
    deadline_s=st.floats(0, 1e9),
    flow=st.builds(Flow, st.text(), st.sampled_from(["interactive", "bulk"])),
    outputs=st.lists(st.text("abc_", min_size=1)),
)
def test_work_survives_the_wire(
    id: int, model: ModelKey, rows: list[np.ndarray], deadline_s: float, flow: Flow, outputs: list[str]
) -> None:
    body = body_of(frames.pack_work(id, Work(model, rows, deadline_s, flow, outputs), MODELS), Kind.WORK)

    found_id, found = frames.unpack_work(body, MODELS)

    assert (found_id, found.model, found.deadline_s) == (id, model, deadline_s)
    assert (found.flow, list(found.outputs)) == (flow, outputs)
    assert [row.tolist() for row in found.rows] == [row.tolist() for row in rows]


@given(width=st.integers(1, 5), lengths=st.lists(st.integers(1, 6), min_size=1, max_size=9))
def test_vectors_survive_the_wire(width: int, lengths: list[int]) -> None:
    random = np.random.default_rng(width)
    rows = [random.normal(size=(length, width)).astype(np.float32) for length in lengths]

    body = body_of(frames.pack_work(4, Work(MODELS[0], rows, 7.5, outputs=("a",)), MODELS), Kind.WORK)

    _, found = frames.unpack_work(body, MODELS)
    assert [row.shape for row in found.rows] == [row.shape for row in rows]
    assert [row.tobytes() for row in found.rows] == [row.tobytes() for row in rows]
    assert {row.dtype for row in found.rows} == {np.dtype(np.float32)}


@given(rows=st.integers(1, 9), widths=st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_answers_survive_the_wire(rows: int, widths: list[int]) -> None:
    random = np.random.default_rng(rows)
    outputs = {f"out_{i}": random.normal(size=(rows, width)).astype(np.float32) for i, width in enumerate(widths)}

    id, answer = frames.unpack_answer(body_of(frames.pack_answer(9, Answer(outputs, Timing(0.5, 0.25))), Kind.ANSWER))

    assert (id, answer.timing) == (9, Timing(0.5, 0.25))
    assert {name: value.tolist() for name, value in answer.outputs.items()} == {
        name: value.tolist() for name, value in outputs.items()
    }


def test_failures_keep_class_message_and_index() -> None:
    body = body_of(frames.pack_failure(3, TextTooLongError("too löng", index=2)), Kind.FAILURE)

    failure = frames.unpack_failure(body)

    assert (failure.id, type(failure.error)) == (3, TextTooLongError)
    assert (failure.error.message, failure.error.index) == ("too löng", 2)


@pytest.mark.parametrize(
    "plan",
    [None, PlanStatus("p", "why", [PlanFigures("p", "serves", 1.5, {"1x8": 2.5}), PlanFigures("q", "not here")])],
    ids=["no plan", "a plan"],
)
def test_status_survives_the_wire(plan: PlanStatus | None) -> None:
    cost = Cost(0.5, 0.1, 2, 0.001, 8)
    status = EngineStatus(True, [ModelStatus(MODELS[1], "cpu", "fp32", cost, plan)], oldest_batch_s=0.25)

    assert frames.unpack_status(body_of(frames.pack_status(status), Kind.STATUS)) == status


def unpack(kind: Kind, body: bytes) -> object:
    if kind is Kind.WORK:
        return frames.unpack_work(body, MODELS)
    plain = (frames.unpack_answer, frames.unpack_failure, frames.unpack_cancel, frames.unpack_status)
    return dict(zip((Kind.ANSWER, Kind.FAILURE, Kind.CANCEL, Kind.STATUS), plain, strict=True))[kind](body)


@given(kind=st.sampled_from(Kind), body=st.binary())
def test_rubbish_is_a_frame_error_and_nothing_else(kind: Kind, body: bytes) -> None:
    """Bytes that happen to be a frame are fine; anything else raises FrameError alone."""
    try:
        assert unpack(kind, body) is not None
    except FrameError as error:
        assert str(error).startswith("bad")


@pytest.mark.parametrize(
    "header",
    [
        HEADER.pack(1, 99, WIRE_VERSION),
        HEADER.pack(1, Kind.WORK, WIRE_VERSION + 1),
        HEADER.pack(2**31, Kind.WORK, WIRE_VERSION),
    ],
    ids=["unknown kind", "other version", "absurd length"],
)
def test_foreign_headers_are_refused(header: bytes) -> None:
    with pytest.raises(FrameError):
        frames.read_header(header)


@given(bodies=st.lists(st.binary(max_size=40), max_size=6), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_frames_are_found_however_the_bytes_arrive(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frames.frame(Kind.CANCEL, body) for body in bodies)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader = FrameReader()

    found = [frame for start, end in pairwise(edges) for frame in reader.feed(stream[start:end])]

    assert found == [(Kind.CANCEL, body) for body in bodies]
