import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batching.flows import FORGET_FROM, WEIGHTS, Flows
from app.types import Flow

A, B = Flow("a", "interactive"), Flow("b", "interactive")
BULK = Flow("a", "bulk")


def serve_smallest(flows: Flows, waiting: list[Flow], tokens: int) -> Flow:
    flow = min(waiting, key=flows.start)
    flows.serve([(flow, tokens)], waiting)
    return flow


def test_flows_that_wait_all_the_time_take_turns() -> None:
    flows = Flows()

    order = [serve_smallest(flows, [A, B], 10) for _ in range(6)]

    assert order == [A, B, A, B, A, B]


def test_bulk_work_gets_its_share_and_no_more() -> None:
    flows = Flows()

    order = [serve_smallest(flows, [A, BULK], 10) for _ in range(170)]

    assert order.count(BULK) == pytest.approx(170 / (1 + WEIGHTS["interactive"]), abs=1)


@given(served=st.lists(st.integers(1, 500), min_size=1, max_size=50))
def test_idleness_saves_nothing_up(served: list[int]) -> None:
    """A flow that comes after others were served long starts where they are, not at zero."""
    flows = Flows()
    for tokens in served:
        serve_smallest(flows, [A], tokens)

    assert flows.start(B) == pytest.approx(flows.start(A))


def test_ever_new_callers_do_not_keep_an_old_one_waiting() -> None:
    flows = Flows()
    serve_smallest(flows, [A], 100)

    for number in range(1000):
        new = Flow(f"new {number}", "interactive")
        if serve_smallest(flows, [A, new], 10) == A:
            break
    else:
        raise AssertionError("the old caller was never served again")

    assert number <= 2 * 100 / 10


def test_callers_of_yesterday_are_forgotten() -> None:
    flows = Flows()

    for number in range(100 * FORGET_FROM):
        serve_smallest(flows, [Flow(str(number), "interactive")], 10)

    assert len(flows) <= 2 * FORGET_FROM
