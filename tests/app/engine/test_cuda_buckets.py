"""Shapes hold their batches, stay within the limits, and waste little."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bundle.packed import PackedSpec
from app.bundle.packing import Shape
from app.engine.cuda_buckets import GraphIndex, Limits, eager_shape, graph_shapes, limits_for, longest_bucket, split


def limits_of(max_tokens: int = 512, hidden: int = 768) -> Limits:
    spec = PackedSpec(
        heads=12, hidden=hidden, vocabulary=9, max_tokens=max_tokens, pad_id=0, outputs={"sentence_embedding": hidden}
    )
    return limits_for(spec)


LIMITS = limits_of()
lengths_lists = st.lists(st.integers(1, 512), min_size=1, max_size=400)


@given(lengths=lengths_lists)
def test_every_row_runs_once_and_every_run_is_within_the_limits(lengths: list[int]) -> None:
    runs = split(lengths, LIMITS)

    assert sorted(place for run in runs for place in run) == list(range(len(lengths)))
    for run in runs:
        shape = eager_shape([lengths[place] for place in run])
        assert sum(lengths[place] for place in run) <= LIMITS.tokens
        assert shape.slots <= LIMITS.slots
        assert shape.sequences <= LIMITS.sequences


@given(lengths=st.lists(st.integers(1, 64), min_size=1, max_size=2000))
def test_limits_hold_where_slots_are_few(lengths: list[int]) -> None:
    few = Limits(tokens=4096, slots=1024, longest=64, graph_tokens=64)

    for run in split(lengths, few):
        assert eager_shape([lengths[place] for place in run]).slots <= few.slots


@given(lengths=lengths_lists)
def test_eager_shape_holds_its_rows(lengths: list[int]) -> None:
    run = [lengths[place] for place in split(lengths, LIMITS)[0]]

    assert eager_shape(run).holds(sum(run), len(run), max(run))


@given(tokens=st.integers(1, 3000), rows=st.integers(1, 300), longest=st.integers(1, 512))
def test_graph_that_is_found_is_the_smallest_that_holds(tokens: int, rows: int, longest: int) -> None:
    shapes = graph_shapes(LIMITS)

    found = GraphIndex(shapes).find(tokens, rows, longest)

    holding = [shape for shape in shapes if shape.holds(tokens, rows, longest)]
    if found is None:
        assert not holding
    else:
        shape, graph_id = found
        assert shapes[graph_id] == shape
        assert shape in holding
        assert shape.tokens == min(other.tokens for other in holding)


def test_one_typical_text_of_any_length_has_a_graph() -> None:
    index = GraphIndex(graph_shapes(LIMITS))

    assert all(index.find(length, 1, length) is not None for length in range(1, 513))


@pytest.mark.parametrize("max_tokens", [16, 64, 256, 512, 8192])
def test_graphs_are_few_enough_to_capture_at_start_and_within_the_limits(max_tokens: int) -> None:
    limits = limits_of(max_tokens)

    shapes = graph_shapes(limits)

    assert 10 <= len(shapes) <= 100
    assert all(shape.slots <= limits.slots and shape.longest <= limits.longest for shape in shapes)
    assert all(shape.tokens <= limits.graph_tokens and shape.longest % 8 == 0 for shape in shapes)


def test_tail_is_under_four_percent_in_the_mean() -> None:
    """Of batches that kernels, not launches, make slow."""
    index = GraphIndex(graph_shapes(LIMITS))
    wasted = []
    for total in range(256, 8000, 7):
        lengths = [36] * (total // 36) + ([total % 36] if total % 36 else [])
        found = index.find(total, len(lengths), 36)
        shape = eager_shape(lengths) if found is None else found[0]
        wasted.append(1 - total / shape.tokens)

    assert np.mean(wasted) <= 0.04
    assert max(wasted) <= 0.12


@pytest.mark.parametrize(
    ("longest", "bucket"), [(1, 16), (16, 16), (17, 32), (129, 256), (300, 384), (512, 512), (513, 640)]
)
def test_longest_goes_up_in_steps(longest: int, bucket: int) -> None:
    assert longest_bucket(longest) == bucket


def test_rows_of_like_length_run_together_where_slots_are_few() -> None:
    limits = Limits(tokens=4096, slots=1024, longest=512, graph_tokens=64)

    runs = split([8] * 40 + [500], limits)

    assert runs[0] == [40]
    assert sum(map(len, runs)) == 41


def test_largest_run_of_a_model_has_its_longest_text() -> None:
    limits = limits_of(8192, hidden=1024)

    assert limits.tokens >= 8192
    assert eager_shape([8192]) == Shape(8192, 1, 8192)
