"""Values are compared by how far apart they lie, whatever their unit is."""

import numpy as np
import pytest

from app.bundle.errors import BundleError
from app.bundle.golden import LIMITS, Limits, check_heads
from app.bundle.manifest import ClassifyHead

HEAD = ClassifyHead(name="year", output="logits_year", problem_type="regression", labels=["value"])
YEARS = np.array([[1900.0], [1950.0], [2000.0]], np.float32)
FP32 = Limits(0.9999, 0.9999, 1e-4, 1e-3, 1e-3)


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e4])
def test_the_limit_goes_with_the_unit(unit: float) -> None:
    want = {HEAD.output: YEARS * np.float32(unit)}

    check_heads([HEAD], FP32, want, {HEAD.output: want[HEAD.output] + np.float32(0.05 * unit)})
    with pytest.raises(BundleError, match="head year: golden row 0 differs by 2"):
        check_heads([HEAD], FP32, want, {HEAD.output: want[HEAD.output] + np.float32(0.2 * unit)})


def test_half_precision_of_large_values_is_refused() -> None:
    """bfloat16 knows 2000 to 8: of values that lie 10 apart it leaves nothing."""
    want = np.array([[2000.0], [2003.0], [2010.0]], np.float32)
    rounded = (np.round(want / 8) * 8).astype(np.float32)

    with pytest.raises(BundleError, match="head year: golden row 1 differs"):
        check_heads([HEAD], LIMITS["bf16"], {HEAD.output: want}, {HEAD.output: rounded})
