import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batching.cost import run_ms
from app.batching.refine import BOUND, CLIP, RATE, CostRefiner, scaled, within_bounds
from app.types import Cost

MEASURED = Cost(overhead_ms=5.0, ms_per_token=0.1, lanes=2, ms_per_pair=1e-4, pad_to=8)
SHAPES = [(1, 16), (1, 40), (2, 32), (4, 32), (8, 24), (16, 64), (1, 200)]


def serve(refiner: CostRefiner, truth: Cost, runs: int, *, noise: float = 0.05, outliers: float = 0.0) -> None:
    """Feed runs of mixed shapes: noisy, and some of them stalled for twenty times as long."""
    random = np.random.default_rng(1)
    for _ in range(runs):
        rows, length = SHAPES[random.integers(len(SHAPES))]
        ms = run_ms(truth, rows, length) * math.exp(random.normal(0, noise))
        refiner.feed(rows, length, ms * (20 if random.random() < outliers else 1))


def errors(found: Cost, truth: Cost) -> list[float]:
    return [abs(run_ms(found, *shape) / run_ms(truth, *shape) - 1) for shape in SHAPES]


DRIFTS = {
    "nothing": (1.0, 1.0),
    "all slower": (1.5, 1.5),
    "all faster": (0.7, 0.7),
    "overhead": (2.0, 1.0),
    "tokens": (1.0, 1.6),
    "against each other": (0.6, 1.4),
}


@pytest.mark.parametrize("outliers", [0.0, 0.05], ids=["calm", "noisy"])
@pytest.mark.parametrize("factors", DRIFTS.values(), ids=DRIFTS.keys())
def test_a_lasting_drift_is_followed(factors: tuple[float, float], outliers: float) -> None:
    truth, refiner = scaled(MEASURED, *factors), CostRefiner(MEASURED)

    serve(refiner, truth, 3000, outliers=outliers)

    assert max(errors(refiner.cost, truth)) < 0.1


def test_a_calm_machine_moves_nothing_much() -> None:
    refiner = CostRefiner(MEASURED)

    serve(refiner, MEASURED, 1000)

    assert max(errors(refiner.cost, MEASURED)) < 0.03


@given(ms=st.floats(1e-6, 1e9), shape=st.sampled_from(SHAPES))
def test_one_run_moves_the_price_by_little(ms: float, shape: tuple[int, int]) -> None:
    refiner = CostRefiner(MEASURED)
    before = run_ms(refiner.cost, *shape)

    refiner.feed(*shape, ms)

    assert abs(math.log(run_ms(refiner.cost, *shape) / before)) <= RATE * CLIP * 1.01


@given(
    feeds=st.lists(
        st.tuples(st.integers(-1, 64), st.integers(-1, 512), st.floats(allow_nan=True, allow_infinity=True)),
        max_size=50,
    ),
    times=st.integers(1, 40),
)
def test_the_price_stays_sane_whatever_it_is_fed(feeds: list[tuple[int, int, float]], times: int) -> None:
    refiner = CostRefiner(MEASURED)

    for rows, length, ms in feeds * times:
        refiner.feed(rows, length, ms)

    for found, measured in (
        (refiner.cost.overhead_ms, MEASURED.overhead_ms),
        (refiner.cost.ms_per_token, MEASURED.ms_per_token),
    ):
        assert 1 / BOUND * 0.999 <= found / measured <= BOUND * 1.001


@pytest.mark.parametrize("ms", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_is_none_changes_nothing(ms: float) -> None:
    refiner = CostRefiner(MEASURED)

    refiner.feed(4, 32, ms)

    assert refiner.cost == MEASURED


@given(factors=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)))
def test_what_is_kept_is_within_bounds_of_what_was_measured(factors: tuple[float, float]) -> None:
    kept = within_bounds(scaled(MEASURED, *factors), MEASURED)

    wanted = [min(max(factor, 1 / BOUND), BOUND) for factor in factors]
    assert kept.overhead_ms == pytest.approx(MEASURED.overhead_ms * wanted[0])
    assert kept.ms_per_token == pytest.approx(MEASURED.ms_per_token * wanted[1])
