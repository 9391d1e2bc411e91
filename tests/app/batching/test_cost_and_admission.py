import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batching.admission import Admission
from app.batching.cost import BUDGET_MAX, BUDGET_MIN, Sample, budget_tokens, fit, predicted_wait_ms
from app.errors import OverloadedError
from app.types import Cost

COST = Cost(overhead_ms=1.0, ms_per_token=0.5, lanes=2)


@given(overhead_ms=st.floats(0.01, 10), ms_per_token=st.floats(0.001, 1))
def test_fit_finds_the_line_that_made_the_samples(overhead_ms: float, ms_per_token: float) -> None:
    samples = [Sample(tokens, overhead_ms + tokens * ms_per_token) for tokens in (8, 32, 128, 256)]

    cost = fit(samples, lanes=2)

    assert cost.overhead_ms == pytest.approx(overhead_ms, rel=1e-6)
    assert cost.ms_per_token == pytest.approx(ms_per_token, rel=1e-6)


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

    assert admission.tokens == 10**9


@given(requests=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000))))
def test_every_token_that_enters_leaves(requests: list[tuple[int, int]]) -> None:
    admission = Admission(max_wait_ms=1e12)
    tickets = []
    for estimate, exact in requests:
        ticket = admission.admit(estimate, COST)
        ticket.reserve(exact)
        tickets.append(ticket)
    assert admission.tokens == sum(exact for _, exact in requests)

    for ticket in tickets:
        with ticket:
            pass

    assert admission.tokens == 0
