"""What trains gives what the books' equations give."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.scratch import equations
from tests.training.scratch.tables import RECURRENT, TRANSFORMERS, table_of
from training.modeling.scratch.attention import SelfAttention
from training.modeling.scratch.recurrent import RecurrentLayer, RecurrentTrunk
from training.modeling.scratch.transformer import TransformerTrunk
from training.recipe.encoder import RecurrentEncoder, TransformerEncoder

CLOSE = 1e-6
VOCABULARY = 40
LENGTHS = (1, 9, 150)


def _states(trunk: nn.Module, ids: list[int]) -> equations.Doubles:
    with torch.no_grad():
        states_1TD: torch.Tensor = trunk(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))
    return states_1TD[0].numpy().astype(np.float64)


def _ids(length: int) -> list[int]:
    return torch.randint(VOCABULARY, (length,), generator=torch.Generator().manual_seed(length)).tolist()


def recurrent_states(trunk: nn.Module, table: RecurrentEncoder, x_TD: equations.Doubles) -> equations.Doubles:
    """A layer at a time; a second direction reads the text turned round, and its states are turned back."""
    cells: dict[str, Callable[[equations.Doubles, equations.Weights], equations.Doubles]] = {
        "rnn": partial(equations.rnn, activation=table.activation or "tanh"),
        "lstm": equations.lstm,
        "gru": equations.gru,
    }
    cell = cells[table.kind]
    w = equations.weights_of(trunk)
    for number in range(table.layers):
        layer = equations.part(w, f"layers.{number}.")
        directions = [cell(x_TD, equations.part(layer, "along."))]
        if table.bidirectional:
            directions.append(cell(x_TD[::-1], equations.part(layer, "against."))[::-1])
        x_TD = np.concatenate(directions, axis=1)
    return x_TD


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("raw", RECURRENT.values(), ids=RECURRENT)
def test_recurrent_states_are_those_of_the_equations(raw: Mapping[str, Any], length: int) -> None:
    table = table_of({**raw, "max_tokens": max(LENGTHS)})
    assert isinstance(table, RecurrentEncoder)
    torch.manual_seed(1)
    trunk = RecurrentTrunk(table, VOCABULARY).eval()

    found_TD = _states(trunk, _ids(length))

    embedded_TD = equations.weights_of(trunk)["embedding.weight"][_ids(length)]
    assert np.abs(found_TD - recurrent_states(trunk, table, embedded_TD)).max() <= CLOSE
    assert found_TD.shape == (length, trunk.hidden)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("raw", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_transformer_states_are_those_of_the_equations(raw: Mapping[str, Any], length: int) -> None:
    table = table_of({**raw, "max_tokens": max(LENGTHS)})
    assert isinstance(table, TransformerEncoder)
    torch.manual_seed(1)
    trunk = TransformerTrunk(table, VOCABULARY).eval()
    with torch.no_grad():
        for name, parameter in trunk.named_parameters():
            if "norm" in name:  # torch starts norms at 1 and 0, where a mistake in them does not show
                parameter.add_(torch.randn_like(parameter) * 0.3)
    w = equations.weights_of(trunk)

    found_TD = _states(trunk.double(), _ids(length))  # in float32 alone the sums of 150 tokens differ by some 1e-6

    embedded_TD = w["embedding.weight"][_ids(length)] * table.hidden**0.5
    expected_TD = equations.transformer(
        embedded_TD, w, layers=table.layers, heads=table.heads, positions=table.positions, norm=table.norm
    )
    assert np.abs(found_TD - expected_TD).max() <= CLOSE


def test_float32_attention_is_within_the_same_limit() -> None:
    torch.manual_seed(2)
    table = table_of({**TRANSFORMERS["rotary, pre-norm"]})
    assert isinstance(table, TransformerEncoder)
    attention = SelfAttention(table.hidden, table.heads)
    x_TD = torch.randn(9, table.hidden)

    with torch.no_grad():
        found_TD = attention(x_TD[None], torch.zeros(1, 1, 1, 9), None)[0].numpy()

    w = equations.weights_of(attention)
    expected_TD = equations.self_attention(x_TD.numpy().astype(np.float64), w, table.heads, is_rotary=False)
    assert np.abs(found_TD - expected_TD).max() <= CLOSE


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_two_directions_are_torchs_own_over_packed_sequences(kind: str) -> None:
    """Its one module for both directions, which no exporter takes as it is, with the same weights."""
    table = table_of({**RECURRENT[f"{kind}, two directions"], "layers": 1})
    assert isinstance(table, RecurrentEncoder)
    torch.manual_seed(4)
    trunk = RecurrentTrunk(table, VOCABULARY).eval()
    whole = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind](
        table.embedding, table.hidden, batch_first=True, bidirectional=True
    )
    layer = trunk.layers[0]
    assert isinstance(layer, RecurrentLayer)
    assert layer.against is not None
    along, against = layer.along.state_dict(), layer.against.state_dict()
    whole.load_state_dict(along | {f"{name}_reverse": value for name, value in against.items()})
    lengths = [7, 1, 4]
    ids_BT = torch.randint(VOCABULARY, (3, 7))
    mask_BT = (torch.arange(7) < torch.tensor(lengths)[:, None]).long()

    with torch.no_grad():
        found_BTD = trunk(ids_BT, mask_BT)
        packed = nn.utils.rnn.pack_padded_sequence(
            trunk.embedding(ids_BT), torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
        expected_BTD, _ = nn.utils.rnn.pad_packed_sequence(whole(packed)[0], batch_first=True)

    assert ((found_BTD - expected_BTD) * mask_BT[..., None]).abs().max() <= CLOSE
