"""An epoch's batches hold every row once, in an order of their own, with little padding."""

import random

import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from training.data.collate import Batches, encode, epoch_batches, pad

all_lengths = st.lists(st.integers(1, 256), max_size=300)


def padding(lengths: list[int], batches: list[list[int]]) -> int:
    return sum(max(lengths[i] for i in batch) * len(batch) - sum(lengths[i] for i in batch) for batch in batches)


@given(lengths=all_lengths, batch_size=st.integers(1, 40), seed=st.integers(0), epoch=st.integers(0, 50))
def test_every_index_stands_in_one_batch(lengths: list[int], batch_size: int, seed: int, epoch: int) -> None:
    batches = epoch_batches(lengths, batch_size, seed=seed, epoch=epoch)

    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert len(batches) == -(-len(lengths) // batch_size)


@given(lengths=all_lengths, seed=st.integers(0), epoch=st.integers(0, 50))
def test_order_is_a_function_of_seed_and_epoch(lengths: list[int], seed: int, epoch: int) -> None:
    first = epoch_batches(lengths, 8, seed=seed, epoch=epoch)
    random.seed(0)
    random.random()

    assert epoch_batches(lengths, 8, seed=seed, epoch=epoch) == first


def test_order_is_the_same_on_every_machine() -> None:
    assert epoch_batches([3, 1, 2, 5, 4], 2, seed=7, epoch=1) == [[1, 2], [3], [0, 4]]


def test_epochs_and_seeds_differ() -> None:
    lengths = [1 + index % 17 for index in range(100)]
    orders = [epoch_batches(lengths, 8, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]

    assert all(one != other for index, one in enumerate(orders) for other in orders[:index])


def test_the_rows_of_a_step_depend_on_seed_epoch_and_step_alone() -> None:
    """Whatever was asked before: a resumed run asks for the middle of an epoch first."""
    lengths = [3 + number % 17 for number in range(103)]
    straight = Batches(lengths, 8, seed=7)
    places = [(epoch, step) for epoch in range(3) for step in range(straight.steps)]

    expected = {place: straight.batch(*place) for place in places}

    assert straight.steps == 13
    for epoch, step in random.Random(5).sample(places, len(places)):
        assert Batches(lengths, 8, seed=7).batch(epoch, step) == expected[epoch, step]
        assert straight.batch(epoch, step) == expected[epoch, step]
    for epoch in range(3):
        assert sorted(row for step in range(13) for row in expected[epoch, step]) == list(range(103))
    assert Batches(lengths, 8, seed=8).batch(0, 0) != expected[0, 0]


def test_rows_of_like_length_share_a_batch() -> None:
    chance = random.Random(3)
    lengths = [chance.randint(3, 60) for _ in range(4000)]
    order = list(range(4000))
    chance.shuffle(order)
    shuffled = [order[start : start + 32] for start in range(0, 4000, 32)]

    assert padding(lengths, epoch_batches(lengths, 32, seed=7, epoch=0)) < 0.1 * padding(lengths, shuffled)


@given(rows=st.lists(st.lists(st.integers(1, 30_000), min_size=1, max_size=20), min_size=1, max_size=8))
def test_padding_keeps_every_row(rows: list[list[int]]) -> None:
    ids_BT, mask_BT = pad(rows, pad_id=0)

    assert ids_BT.dtype == mask_BT.dtype == torch.long
    assert ids_BT.shape == mask_BT.shape == (len(rows), max(map(len, rows)))
    assert [ids[mask.bool()].tolist() for ids, mask in zip(ids_BT, mask_BT, strict=True)] == rows
    assert int(ids_BT[mask_BT == 0].sum()) == 0


def test_long_texts_are_cut_at_their_end() -> None:
    tokenizer = Tokenizer(WordLevel({"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "a": 3, "b": 4, "c": 5}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)])

    assert encode(tokenizer, ["a b c", "a", ""], 4) == [[0, 3, 4, 1], [0, 3, 1], [0, 1]]
    assert tokenizer.truncation is None
