"""Rows become the inputs of a packed graph, whatever their lengths and the shape they are put into."""

from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.roberta.modeling_roberta import RobertaEmbeddings

from app.bundle.packed import PackedSpec
from app.bundle.packing import ALIGN, Packed, Shape, distances, dummies, feeds, pack
from app.types import Ids

MAX_TOKENS = 12
PAD = 1
SPEC = PackedSpec(
    heads=2, hidden=16, vocabulary=10, max_tokens=MAX_TOKENS, pad_id=PAD, outputs={"sentence_embedding": 16}
)
ROBERTA = SPEC.model_copy(update={"position_pad": PAD})

rows_of_ids = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=MAX_TOKENS), min_size=1, max_size=8)


def arrays(rows: list[list[int]]) -> list[Ids]:
    return [np.array(row, np.int32) for row in rows]


def shape_of(rows: list[list[int]], *, tail: int = 0, empty: int = 0, wider: int = 0) -> Shape:
    longest = max(map(len, rows)) + wider
    return Shape(sum(map(len, rows)) + tail, len(rows) + dummies(tail, longest) + empty, longest)


def sequences(batch: Packed) -> list[list[int]]:
    bounds = batch.view("cu_seqlens")
    return [batch.view("input_ids")[a:b].tolist() for a, b in pairwise(bounds)]


@given(rows=rows_of_ids, tail=st.integers(0, 50), empty=st.integers(0, 4), wider=st.integers(0, 5))
def test_rows_come_first_dummies_cover_the_tail_and_the_rest_is_empty(
    rows: list[list[int]], tail: int, empty: int, wider: int
) -> None:
    shape = shape_of(rows, tail=tail, empty=empty, wider=wider)

    found = sequences(pack(arrays(rows), shape, SPEC))

    assert found[: len(rows)] == rows
    behind = found[len(rows) :]
    assert list(chain.from_iterable(behind)) == [PAD] * tail
    assert all(len(sequence) <= shape.longest for sequence in found)
    assert [len(sequence) for sequence in behind[dummies(tail, shape.longest) :]] == [0] * empty


@given(rows=rows_of_ids, tail=st.integers(0, 30), empty=st.integers(0, 4))
def test_first_token_of_each_row_is_named_and_none_lies_outside(rows: list[list[int]], tail: int, empty: int) -> None:
    batch = pack(arrays(rows), shape_of(rows, tail=tail, empty=empty), SPEC)

    first = batch.view("cls_index")
    assert [batch.view("input_ids")[place] for place in first[: len(rows)]] == [row[0] for row in rows]
    assert all(0 <= place < batch.shape.tokens for place in first)


@given(rows=rows_of_ids, tail=st.integers(0, 30))
def test_positions_count_from_nought_in_each_row(rows: list[list[int]], tail: int) -> None:
    positions = pack(arrays(rows), shape_of(rows, tail=tail), SPEC).view("position_ids")

    assert positions.tolist() == [place for row in rows for place in range(len(row))] + [0] * tail


@given(rows=rows_of_ids, tail=st.integers(0, 30))
def test_roberta_counts_as_transformers_does(rows: list[list[int]], tail: int) -> None:
    """Signs of padding inside a text included: they all stand on the same position, and the count goes on behind."""
    positions = pack(arrays(rows), shape_of(rows, tail=tail), ROBERTA).view("position_ids")

    expected = [
        number
        for row in rows
        for number in RobertaEmbeddings.create_position_ids_from_input_ids(torch.tensor([row]), PAD)[0].tolist()
    ]
    assert positions.tolist() == expected + [PAD] * tail


@given(rows=rows_of_ids, tail=st.integers(0, 30), empty=st.integers(0, 4))
def test_inputs_share_one_buffer_without_touching(rows: list[list[int]], tail: int, empty: int) -> None:
    batch = pack(arrays(rows), shape_of(rows, tail=tail, empty=empty), SPEC)

    ends = {name: start + len(batch.view(name)) for name, start in batch.offsets.items()}
    order = sorted(batch.offsets, key=batch.offsets.__getitem__)
    assert all(ends[a] <= batch.offsets[b] for a, b in pairwise(order))
    assert ends[order[-1]] <= len(batch.buffer)
    assert all(start % ALIGN == 0 for start in batch.offsets.values())
    assert batch.buffer.dtype == np.int32


def test_distances_are_clipped_to_what_the_model_knows() -> None:
    spec = SPEC.model_copy(update={"distance": True, "max_tokens": 3})

    assert distances(4, spec).tolist() == [[2, 3, 4, 4], [1, 2, 3, 4], [0, 1, 2, 3], [0, 0, 1, 2]]


def test_feeds_have_the_inputs_in_the_graph_s_order() -> None:
    spec = SPEC.model_copy(update={"distance": True})
    batch = pack(arrays([[5, 6]]), Shape(4, 2, 2), spec)

    found = feeds(batch, spec)

    assert {name: values.shape for name, values in found.items()} == {
        "input_ids": (4,),
        "position_ids": (4,),
        "cu_seqlens": (3,),
        "token_offset": (2, 2),
        "cls_index": (2,),
        "distance": (2, 2),
    }
    assert list(found) == list(spec.inputs)


@pytest.mark.parametrize(
    ("rows", "shape", "message"),
    [
        ([], Shape(4, 1, 4), "needs rows"),
        ([[1], []], Shape(4, 2, 4), "each row a token"),
        ([[1] * 13], Shape(16, 1, 16), "a row has 13 tokens; the graph takes 12"),
        ([[1, 2, 3]], Shape(2, 1, 3), "do not fit"),
        ([[1, 2, 3]], Shape(3, 1, 2), "do not fit"),
        ([[1], [2]], Shape(2, 1, 2), "do not fit"),
        ([[1]], Shape(2, 1, 1), "do not fit"),
        ([[1, 10]], Shape(2, 1, 2), "ids go from 1 to 10; the model knows 0 to 9"),
        ([[-1, 1]], Shape(2, 1, 2), "ids go from -1 to 1"),
    ],
    ids=[
        "nothing",
        "no tokens",
        "too long",
        "too many tokens",
        "too long for S",
        "too many rows",
        "no dummy for tail",
        "unknown id",
        "negative id",
    ],
)
def test_what_does_not_fit_is_refused(rows: list[list[int]], shape: Shape, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack(arrays(rows), shape, SPEC)


def test_shape_counts_its_slots() -> None:
    assert replace(Shape(1, 2, 3), longest=5).slots == 10
