import random
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batching.admission import LEARN_FROM_MS, PLACES, Admission
from app.batching.cost import BUDGET_MAX, BUDGET_MIN, Sample, budget_tokens, fit, join_tokens, predicted_wait_ms, run_ms
from app.errors import OverloadedError
from app.serving.board import SharedBoard, clear
from app.types import Cost, Flow

COST = Cost(overhead_ms=1.0, ms_per_token=0.5, lanes=2)
GREEDY, POLITE = Flow("greedy", "interactive"), Flow("polite", "interactive")


SHAPES = [(1, 16), (1, 48), (4, 32), (8, 64), (2, 256)]


@given(
    overhead_ms=st.floats(0.01, 10),
    ms_per_token=st.floats(0.001, 1),
    ms_per_pair=st.floats(0, 1e-3),
    pad_to=st.sampled_from([1, 8, 20]),
)
def test_fit_finds_the_price_that_made_the_samples(
    overhead_ms: float, ms_per_token: float, ms_per_pair: float, pad_to: int
) -> None:
    truth = Cost(overhead_ms, ms_per_token, 2, ms_per_pair, pad_to)

    cost = fit([Sample(*shape, run_ms(truth, *shape)) for shape in SHAPES], lanes=2, pad_to=pad_to)

    assert (cost.lanes, cost.pad_to) == (2, pad_to)
    for shape in [*SHAPES, (3, 20), (32, 64), (1, 4)]:
        assert run_ms(cost, *shape) == pytest.approx(run_ms(truth, *shape), rel=1e-4)


@given(times=st.lists(st.floats(1e-3, 1e3), min_size=len(SHAPES), max_size=len(SHAPES)))
def test_no_noise_makes_a_price_negative(times: list[float]) -> None:
    cost = fit([Sample(*shape, ms) for shape, ms in zip(SHAPES, times, strict=True)], lanes=1)

    assert min(cost.overhead_ms, cost.ms_per_token) > 0
    assert cost.ms_per_pair >= 0


def test_a_run_costs_what_its_padded_rows_cost() -> None:
    cost = Cost(overhead_ms=1.0, ms_per_token=0.5, lanes=1, ms_per_pair=0.01, pad_to=8)

    assert run_ms(cost, 3, 9) == run_ms(cost, 3, 16) == pytest.approx(1.0 + 48 * 0.5 + 48 * 16 * 0.01)


@given(overhead_ms=st.floats(1e-6, 1e3), ms_per_token=st.floats(1e-6, 1e3))
def test_the_budget_stays_in_its_range(overhead_ms: float, ms_per_token: float) -> None:
    assert BUDGET_MIN <= budget_tokens(Cost(overhead_ms, ms_per_token, 1)) <= BUDGET_MAX


def test_two_lanes_halve_the_predicted_wait() -> None:
    alone = Cost(COST.overhead_ms, COST.ms_per_token, lanes=1)

    assert predicted_wait_ms(1000, COST) == predicted_wait_ms(1000, alone) / 2


def test_a_request_over_the_predicted_wait_is_refused_with_the_wait() -> None:
    admission = Admission(max_wait_ms=100)
    admission.admit(1000, COST)

    with pytest.raises(OverloadedError, match=r"predicted wait is 25\d ms; the limit is 100 ms") as caught:
        admission.admit(1, COST)

    assert caught.value.retry_after_ms is not None
    assert caught.value.retry_after_ms > 100


def test_an_empty_house_takes_any_request() -> None:
    admission = Admission(max_wait_ms=1)

    admission.admit(10**9, COST)

    assert admission.wait_ms() == predicted_wait_ms(10**9, COST)


@given(requests=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000))))
def test_every_token_that_enters_leaves(requests: list[tuple[int, int]]) -> None:
    admission = Admission(max_wait_ms=1e12)
    tickets = []
    for estimate, exact in requests:
        ticket = admission.admit(estimate, COST)
        ticket.reserve(exact, COST)
        tickets.append(ticket)
    expected_ms = sum(predicted_wait_ms(exact, COST) for _, exact in requests)
    assert admission.wait_ms() == pytest.approx(expected_ms, abs=1e-6)

    for ticket in tickets:
        with ticket:
            pass

    assert admission.wait_ms() == pytest.approx(0, abs=1e-6)


def test_a_greedy_flow_closes_the_door_to_itself_alone() -> None:
    admission = Admission(max_wait_ms=1000)
    with pytest.raises(OverloadedError):
        while True:
            admission.admit(35, COST, GREEDY)

    assert admission.wait_ms(GREEDY) > 1000
    assert admission.wait_ms(POLITE, 20) == pytest.approx(20)
    admission.admit(35, COST, POLITE)


def test_one_huge_request_closes_the_door_to_nobody_else() -> None:
    admission = Admission(max_wait_ms=1000)
    admission.admit(100_000, COST, GREEDY)

    admission.check(POLITE)
    admission.admit(35, COST, POLITE)

    with pytest.raises(OverloadedError):
        admission.check(GREEDY)


def test_flows_that_fill_the_house_side_by_side_wait_for_one_another() -> None:
    admission = Admission(max_wait_ms=1e9)
    for _ in range(50):
        for flow in (GREEDY, POLITE):
            admission.admit(35, COST, flow)

    for flow in (GREEDY, POLITE):
        assert admission.wait_ms(flow) == pytest.approx(predicted_wait_ms(2 * 50 * 35, COST))
    assert admission.wait_ms(Flow("new", "interactive"), 20) == pytest.approx(2 * 20)


def test_bulk_waits_for_what_goes_before_it() -> None:
    admission = Admission(max_wait_ms=1e9)
    for _ in range(50):
        admission.admit(35, COST, GREEDY)

    assert admission.wait_ms(Flow("two", "bulk"), 20) == pytest.approx(16 * 20)


def test_a_crowd_of_callers_with_little_each_is_an_overload_too() -> None:
    admission = Admission(max_wait_ms=1000)

    with pytest.raises(OverloadedError):
        for number in range(1000):
            admission.admit(35, COST, Flow(f"caller {number}", "interactive"))


def test_nobody_is_let_in_to_wait_longer_than_it_has() -> None:
    admission = Admission(max_wait_ms=1000)
    admission.admit(1000, COST)

    with pytest.raises(OverloadedError, match="the limit is 100 ms"):
        admission.admit(35, COST, timeout_ms=100)
    admission.admit(35, COST, timeout_ms=400)


def test_a_caller_is_known_at_every_front_end(tmp_path: Path) -> None:
    here = Admission(max_wait_ms=100, board=SharedBoard(tmp_path / "board", 0))
    there = Admission(max_wait_ms=100, board=SharedBoard(tmp_path / "board", 1))

    here.admit(1000, COST, GREEDY)

    there.check(POLITE)
    with pytest.raises(OverloadedError):
        there.check(GREEDY)


def test_front_ends_count_what_the_others_let_in(tmp_path: Path) -> None:
    here = Admission(max_wait_ms=100, board=SharedBoard(tmp_path / "board", 0))
    there = Admission(max_wait_ms=100, board=SharedBoard(tmp_path / "board", 63))

    ticket = here.admit(1000, COST)

    assert there.wait_ms() == here.wait_ms() == predicted_wait_ms(1000, COST)
    with pytest.raises(OverloadedError):
        there.check()
    with ticket:
        pass
    assert there.wait_ms() == 0
    there.check()


def test_a_front_end_that_is_started_again_takes_nothing_over(tmp_path: Path) -> None:
    Admission(max_wait_ms=100, board=SharedBoard(tmp_path / "board", 5)).admit(1000, COST)

    assert not SharedBoard(tmp_path / "board", 5).places_ms().any()


def test_the_others_stop_counting_what_a_dead_front_end_let_in(tmp_path: Path) -> None:
    here, living, dead = (SharedBoard(tmp_path / "board", slot) for slot in (0, 4, 5))
    living.add(3, 30.0)
    dead.add(0, 1e6)
    dead.add(PLACES - 1, 1e6)

    clear(tmp_path / "board", 5)

    assert here.total_ms() == here.places_ms().sum() == here.places_ms()[3] == 30.0


def test_a_front_end_that_died_before_it_wrote_is_cleared_too(tmp_path: Path) -> None:
    clear(tmp_path / "board", 5)

    assert not SharedBoard(tmp_path / "board", 0).places_ms().any()


def test_where_lengths_are_rounded_up_a_row_may_add_less() -> None:
    stepped = replace(COST, pad_to=16)

    assert join_tokens(stepped) == pytest.approx(join_tokens(COST) / 4)


@given(slowness=st.floats(0.6, 3.5))
def test_predictions_follow_the_machine(slowness: float) -> None:
    """Where everything takes `slowness` times as long as a run's price says, the predicted wait comes to say so too."""
    admission = Admission(max_wait_ms=1e9)
    admission.admit(10_000, COST)
    truth_ms = slowness * admission.wait_ms()

    for _ in range(800):
        admission.learn(predicted_wait_ms(10_000, COST), truth_ms)

    assert admission.wait_ms() == pytest.approx(truth_ms, rel=0.03)


@given(slowness=st.floats(0.6, 3.5), delay=st.integers(1, 200))
def test_what_is_learnt_late_is_not_learnt_over_and_over(slowness: float, delay: int) -> None:
    """Waits come true long after they were predicted; the ratio must not run past the truth meanwhile."""
    admission = Admission(max_wait_ms=1e9)
    first = admission.admit(0, COST)
    admission.admit(10_000, COST)
    before_ms = admission.wait_ms()
    inside = deque(admission.admit(0, COST) for _ in range(delay))
    seen_ms = []

    for _ in range(800):
        inside.append(admission.admit(0, COST))
        inside.popleft().waited(slowness * before_ms)
        seen_ms.append(admission.wait_ms())

    low, high = sorted((before_ms, slowness * before_ms))
    assert low * 0.98 <= min(seen_ms) <= max(seen_ms) <= high * 1.02
    assert seen_ms[-1] == pytest.approx(slowness * before_ms, rel=0.03)
    first.waited(1e9)  # nothing stood before it, so it tells nothing
    assert admission.wait_ms() == seen_ms[-1]


def test_nine_waits_of_ten_stay_below_the_prediction() -> None:
    admission = Admission(max_wait_ms=1e9)
    admission.admit(10_000, COST)
    before_ms = admission.wait_ms()
    random_ = random.Random(3)
    waits_ms = [before_ms * random_.uniform(0.5, 2.5) for _ in range(4000)]

    predicted_ms = []
    for actual_ms in waits_ms:
        admission.learn(before_ms, actual_ms)
        predicted_ms.append(admission.wait_ms())

    settled = list(zip(waits_ms, predicted_ms, strict=True))[1000:]
    assert 0.87 <= sum(actual <= predicted for actual, predicted in settled) / len(settled) <= 0.93


def test_waits_too_short_to_mean_anything_teach_nothing() -> None:
    admission = Admission(max_wait_ms=1e9)
    admission.admit(10_000, COST)
    before_ms = admission.wait_ms()

    for _ in range(100):
        admission.learn(LEARN_FROM_MS - 1, 10_000)

    assert admission.wait_ms() == before_ms
