"""Padded batches of few shapes give what any batch gives; ONNX Runtime's CPU stands in for the device."""

from collections.abc import Sequence

import numpy as np
import pytest

from app.bundle.golden import check_golden, load_golden
from app.bundle.manifest import Manifest
from app.bundle.open import open_bundle
from app.engine.cuda_padded import PaddedRunner
from app.engine.cuda_plans import golden_limits
from app.engine.load import golden_rows
from app.engine.runner import OrtRunner
from app.types import Item
from tests.e2e.service import TINY_MODELS

FOLDER = TINY_MODELS / "store" / "tiny-classifier" / "1"


def parts() -> tuple[Manifest, bytes, Sequence[Item]]:
    bundle = open_bundle(FOLDER)
    model = bundle.manifest.model_file("fp32")
    assert model is not None
    return bundle.manifest, bundle.read(model), golden_rows(bundle)


def test_float32_gives_what_unpadded_batches_give() -> None:
    manifest, model, rows = parts()
    padded, plain = PaddedRunner(manifest, model, "cpu", "fp32"), OrtRunner(manifest, model, "cpu")

    for batch in (rows[:1], rows[:5], rows[5:21]):
        got, want = padded.run(batch), plain.run(batch)
        assert list(got) == list(want)
        assert all(np.abs(got[name] - want[name]).max() <= 1e-5 for name in want)


def test_half_precision_keeps_the_golden_outputs() -> None:
    manifest, model, rows = parts()
    expected = load_golden(open_bundle(FOLDER)).outputs

    got = PaddedRunner(manifest, model, "cpu", "fp16").run(rows)

    check_golden(golden_limits(manifest, "fp16"), expected, got)
    assert max(np.abs(got[name] - expected[name]).max() for name in expected) > 1e-6  # it is another precision


def test_golden_limits_are_wider_in_half_precision_alone() -> None:
    manifest, _, _ = parts()

    assert golden_limits(manifest, "fp32") is manifest
    assert golden_limits(manifest, "fp16").golden.max_abs_diff == 2e-3
    assert golden_limits(manifest, "fp16").golden.min_cosine == manifest.golden.min_cosine


@pytest.mark.parametrize(("count", "longest", "shape"), [(1, 3, (1, 16)), (3, 17, (4, 32)), (8, 64, (8, 64))])
def test_shapes_are_few(count: int, longest: int, shape: tuple[int, int]) -> None:
    manifest, model, _ = parts()
    runner = PaddedRunner(manifest, model, "cpu", "fp32")

    feeds = runner._feeds([np.ones(longest, np.int32)] * count)

    assert {array.shape for array in feeds.values()} == {shape}
    assert feeds["attention_mask"].sum(axis=1).tolist() == [longest] * count + [1] * (shape[0] - count)
