"""Fresh encoders: what seed and texts decide, and that padding never enters."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from tests.training.scratch.tables import ALL, RECURRENT, TRANSFORMERS, fresh, table_of
from training.errors import TrainingError
from training.modeling import load_encoder
from training.modeling.scratch.recurrent import reversed_places

CLOSE = 1e-6
LENGTHS = (6, 1, 3, 5)


def _batch(vocabulary: int, padding: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(8)
    ids_BT = torch.randint(vocabulary, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask_BT = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    return torch.where(mask_BT == 1, ids_BT, padding), mask_BT


@pytest.mark.parametrize("raw", ALL.values(), ids=ALL)
def test_a_row_alone_is_the_row_in_a_padded_batch(raw: Mapping[str, Any]) -> None:
    encoder = fresh(raw).encoder
    ids_BT, mask_BT = _batch(encoder.vocabulary)

    with torch.no_grad():
        together_BD = encoder(ids_BT, mask_BT)
        alone = [encoder(ids_BT[row : row + 1, :n], mask_BT[row : row + 1, :n]) for row, n in enumerate(LENGTHS)]

    assert (together_BD - torch.cat(alone)).abs().max() <= CLOSE
    assert together_BD.shape == (len(LENGTHS), encoder.hidden)


@pytest.mark.parametrize("raw", ALL.values(), ids=ALL)
def test_what_stands_in_the_padding_changes_no_bit_and_learns_nothing(raw: Mapping[str, Any]) -> None:
    encoder = fresh(raw).encoder
    ids_BT, mask_BT = _batch(encoder.vocabulary - 1, padding=0)
    other_BT, _ = _batch(encoder.vocabulary - 1, padding=encoder.vocabulary - 1)  # an id that no text has

    found_BD, other_BD = encoder(ids_BT, mask_BT), encoder(other_BT, mask_BT)
    torch.autograd.backward(other_BD.square().sum())

    assert torch.equal(found_BD, other_BD)
    gradient_VD = encoder.trunk.embedding.weight.grad
    assert not gradient_VD[-1].any()
    assert gradient_VD[ids_BT[0, 0]].any()


@pytest.mark.parametrize("raw", RECURRENT.values(), ids=RECURRENT)
def test_each_direction_sees_its_side_of_the_text(raw: Mapping[str, Any]) -> None:
    """Another last token changes the first state only where a second direction brings it there."""
    trunk = fresh({**raw, "layers": 1}).encoder.trunk
    ids_1T, mask_1T = torch.tensor([[5, 6, 7, 8]]), torch.ones(1, 4, dtype=torch.long)
    other_1T = torch.tensor([[5, 6, 7, 9]])

    with torch.no_grad():
        first_D, other_D = trunk(ids_1T, mask_1T)[0, 0], trunk(other_1T, mask_1T)[0, 0]

    assert torch.equal(first_D, other_D) == (not raw["bidirectional"])


@pytest.mark.parametrize("raw", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_the_order_of_tokens_counts(raw: Mapping[str, Any]) -> None:
    encoder = fresh(raw).encoder
    ids_BT = torch.tensor([[5, 6, 7, 8], [8, 6, 7, 5]])

    with torch.no_grad():
        vectors_BD = encoder(ids_BT, torch.ones_like(ids_BT))

    assert (vectors_BD[0] - vectors_BD[1]).abs().max() > 1e-3


def test_reversed_places_turn_each_text_in_itself() -> None:
    mask_BT = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])

    assert reversed_places(mask_BT).tolist() == [[2, 1, 0, 3], [0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]]


def test_seed_and_texts_decide_every_weight() -> None:
    raw = RECURRENT["lstm, two directions"]
    first, again, other = fresh(raw), fresh(raw), fresh(raw, seed=4)

    assert first.tokenizer.to_str() == again.tokenizer.to_str()
    states = [loaded.encoder.state_dict() for loaded in (first, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["trunk.embedding.weight"], states[2]["trunk.embedding.weight"])


def test_what_is_not_in_the_weights_is_in_the_name() -> None:
    """Two encoders with equal weights and another number of heads are two vector spaces."""
    names = {fresh(raw).architecture for raw in TRANSFORMERS.values()}
    names.add(fresh({**TRANSFORMERS["rotary, pre-norm"], "heads": 2}).architecture)

    assert len(names) == len(TRANSFORMERS) + 1


def test_without_texts_there_is_no_tokenizer() -> None:
    with pytest.raises(TrainingError, match=r'encoder\.kind = "gru": its tokenizer learns from the texts of train'):
        load_encoder(table_of({"kind": "gru"}))
