"""The rate is a pure function of the step, for every schedule."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.optim import lr_factor
from training.recipe.settings import Schedule

SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


def factors(schedule: Schedule, *, steps: int = 10, warmup_share: float = 0.0) -> list[float]:
    return [lr_factor(step, steps=steps, warmup_share=warmup_share, schedule=schedule) for step in range(steps)]


def test_linear_climbs_over_the_warm_up_and_falls_to_the_end() -> None:
    expected = [1 / 3, 2 / 3, 1, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7]

    assert factors("linear", warmup_share=0.3) == pytest.approx(expected)


def test_cosine_falls_along_half_a_wave() -> None:
    found = factors("cosine", steps=9)

    assert found[:2] == [1, 1]
    assert found[5] == pytest.approx(0.5)
    assert found == sorted(found, reverse=True)


def test_constant_stays_and_wsd_stays_until_its_last_fifth() -> None:
    assert factors("constant") == [1] * 10
    assert factors("wsd") == pytest.approx([1] * 9 + [1 - 0.5**0.5])


@given(steps=st.integers(1, 500), share=st.floats(0, 0.99), schedule=st.sampled_from(SCHEDULES))
def test_every_step_moves_and_none_exceeds_the_peak(steps: int, share: float, schedule: Schedule) -> None:
    found = factors(schedule, steps=steps, warmup_share=share)

    assert all(0 < factor <= 1 for factor in found)
    assert max(found) == pytest.approx(1)
