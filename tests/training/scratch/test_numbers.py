"""Encoders of numbers: the equations, padding, standardising, and what decides them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from app.bundle.vectors import VectorInput
from tests.training.scratch import equations
from tests.training.scratch.numbers import ALL, MLP, SEQUENCES, WIDTH, Floats, fresh, is_sequence, some_rows
from tests.training.scratch.test_equations import recurrent_states
from training.data.collate import encode, pad
from training.data.vectors import statistics
from training.errors import TrainingError
from training.modeling import ClassifierHead, LoadedEncoder, Model
from training.modeling.scratch.mlp import MlpEncoder, MlpTrunk
from training.recipe.encoder import RecurrentEncoder

CLOSE = 1e-6


def _vectors(raw: Mapping[str, Any], rows: Sequence[Floats]) -> torch.Tensor:
    """The vector of each row, all in one batch."""
    loaded = fresh(raw)
    with torch.no_grad():
        vectors_BD: torch.Tensor = loaded.encoder(*pad(encode(loaded.reader, rows, loaded.max_tokens), 0))
    return vectors_BD


def _standardised(row: Floats, loaded: LoadedEncoder) -> equations.Doubles:
    like = loaded.reader
    assert isinstance(like, VectorInput)
    return equations.standardised(np.atleast_2d(row).astype(np.float64), np.array(like.mean), np.array(like.std))


def test_mlp_is_that_of_the_equation() -> None:
    rows = some_rows(8, sequences=False, seed=9)

    found_BD = _vectors(MLP, rows).numpy()

    loaded = fresh(MLP)
    w = equations.weights_of(loaded.encoder.trunk)
    expected_BD = np.concatenate([equations.mlp(_standardised(row, loaded), w, layers=2) for row in rows])
    assert np.abs(found_BD - expected_BD).max() <= CLOSE
    assert found_BD.shape == (8, 16)


def test_the_tutorials_hundred_values_become_fifty_for_a_batch_of_32() -> None:
    like = VectorInput(width=100, is_sequence=False, mean=[0.0] * 100, std=[1.0] * 100)
    torch.manual_seed(0)
    encoder = MlpEncoder(MlpTrunk([50], 0.0, like), like)
    batch_BF = torch.randn(32, 100)

    encoded_BD = encoder(*pad([row[None] for row in batch_BF.numpy()], 0))
    torch.autograd.backward(encoded_BD.sum())

    (layer,) = encoder.trunk.layers
    assert isinstance(layer, nn.Linear)
    assert torch.equal(encoded_BD, torch.relu(batch_BF @ layer.weight.T + layer.bias))
    assert encoded_BD.shape == (32, 50)
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0
    assert encoder.trunk.architecture == "mlp, 100 → 50, relu"


@pytest.mark.parametrize("raw", SEQUENCES.values(), ids=SEQUENCES)
def test_states_are_those_of_the_equations_over_standardised_values(raw: Mapping[str, Any]) -> None:
    loaded = fresh(raw)
    trunk = loaded.encoder.trunk.double()
    row = max(some_rows(20, sequences=True, seed=4), key=len)
    w = equations.weights_of(trunk)
    embedded_TD = equations.linear(_standardised(row, loaded), w, "embedding.1")

    with torch.no_grad():
        found_TD = trunk(torch.tensor(row[None]).double(), torch.ones(1, len(row), dtype=torch.long))[0].numpy()

    if raw["kind"] == "transformer":
        keys = {name: raw[name] for name in ("layers", "heads", "positions", "norm")}
        expected_TD = equations.transformer(embedded_TD, w, **keys)
    else:
        expected_TD = recurrent_states(trunk, RecurrentEncoder.model_validate({**raw}), embedded_TD)
    assert np.abs(found_TD - expected_TD).max() <= CLOSE


@pytest.mark.parametrize("raw", ALL.values(), ids=ALL)
def test_a_row_alone_is_the_row_in_a_padded_batch(raw: Mapping[str, Any]) -> None:
    rows = some_rows(7, sequences=is_sequence(raw), seed=5)

    together_BD, alone_BD = _vectors(raw, rows), torch.cat([_vectors(raw, [row]) for row in rows])

    assert (together_BD - alone_BD).abs().max() <= CLOSE


@pytest.mark.parametrize("raw", SEQUENCES.values(), ids=SEQUENCES)
def test_what_stands_in_the_padding_changes_no_bit_and_learns_nothing(raw: Mapping[str, Any]) -> None:
    loaded = fresh(raw)
    values_BTF, mask_BT = pad(encode(loaded.reader, some_rows(6, sequences=True, seed=6), loaded.max_tokens), 0)
    other_BTF = torch.where(mask_BT[..., None] == 1, values_BTF, 55.0).requires_grad_()

    found_BD, other_BD = loaded.encoder(values_BTF, mask_BT), loaded.encoder(other_BTF, mask_BT)
    torch.autograd.backward(other_BD.square().sum())

    assert 0 < mask_BT.sum() < mask_BT.numel()
    assert torch.equal(found_BD, other_BD)
    assert other_BTF.grad is not None
    assert not other_BTF.grad[mask_BT == 0].any()
    assert other_BTF.grad[mask_BT == 1].any()


@pytest.mark.parametrize("sequences", [False, True])
def test_statistics_are_those_of_every_vector_of_train(sequences: bool) -> None:
    rows = some_rows(300, sequences=sequences)
    values = np.concatenate([np.atleast_2d(row) for row in rows]).astype(np.float64)

    like = statistics(rows)

    assert (like.width, like.is_sequence) == (WIDTH, sequences)
    assert like.mean == values.mean(axis=0).astype(np.float32).tolist()
    assert like.std[:-1] == values.std(axis=0).astype(np.float32).tolist()[:-1]
    assert like.std[-1] == 1.0, "a value that never changes"


def test_a_value_that_never_changes_becomes_zero() -> None:
    rows = [np.array([16777217.0 + 2e9, number], np.float32) for number in range(9)]

    like = statistics(rows)

    assert like.std[0] == 1.0
    assert like.mean[0] == rows[0][0]


@pytest.mark.parametrize("raw", ALL.values(), ids=ALL)
def test_the_unit_of_the_numbers_changes_nothing(raw: Mapping[str, Any]) -> None:
    """The same rows in another one, and an encoder made for them, give the same vectors: they are standardised."""
    rows = some_rows(40, sequences=is_sequence(raw))
    scaled = [row * 4 for row in rows]  # a power of two: no rounding
    first, other = fresh(raw, rows), fresh(raw, scaled)

    with torch.no_grad():
        found = [
            loaded.encoder(*pad(encode(loaded.reader, some, 24), 0))
            for loaded, some in ((first, rows), (other, scaled))
        ]

    assert torch.equal(found[0], found[1])


def test_seed_and_rows_decide_every_weight() -> None:
    first, again, other = fresh(MLP), fresh(MLP), fresh(MLP, seed=4)

    states = [loaded.encoder.state_dict() for loaded in (first, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["trunk.layers.0.weight"], states[2]["trunk.layers.0.weight"])
    assert first.reader == again.reader


@pytest.mark.parametrize(
    ("raw", "sequences", "message"),
    [
        (
            MLP,
            True,
            r'"mlp" and rows that are sequences of vectors disagree: it reads one vector a row; take rnn, lstm',
        ),
        (
            SEQUENCES["gru, one direction"],
            False,
            r'"gru" and rows that are single vectors disagree: it reads sequences',
        ),
    ],
    ids=["sequences for an mlp", "single vectors for a gru"],
)
def test_rows_of_the_other_form_are_refused(raw: Mapping[str, Any], sequences: bool, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        fresh(raw, some_rows(4, sequences=sequences))


def test_an_encoder_of_numbers_is_a_model_like_others() -> None:
    loaded = fresh(MLP)
    model = Model(loaded.encoder, {"size": ClassifierHead(loaded.encoder.width, 2, 0.1)}).eval()

    outputs = model(*pad(encode(loaded.reader, some_rows(3, sequences=False), loaded.max_tokens), 0))

    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "sentence_embedding": (3, 16),
        "logits_size": (3, 2),
    }
