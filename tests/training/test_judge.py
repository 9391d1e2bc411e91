"""A verdict says where the report of a bundle tells another figure, and nothing of rounding."""

import pytest

from training.judge import Verdict


@pytest.mark.parametrize(
    ("reported", "differs"), [(7.0226, False), (7.0226 * (1 + 1e-7), False), (7.03, True), (None, False)]
)
def test_only_another_figure_is_told(reported: float | None, differs: bool) -> None:
    verdict = Verdict("values@1", "mae", 7.0226, 39, reported, {})

    assert ("other data" in str(verdict)) == differs
