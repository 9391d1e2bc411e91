"""What has no packed graph is refused by name."""

import pytest
import torch
from google.protobuf.message import EncodeError
from torch import nn
from transformers import ElectraConfig, ElectraModel

from app.bundle.manifest import Pooling
from tests.training.export.packed.conftest import HIDDEN, MAX_TOKENS, SIZES, make_reference
from training.export.packed.export import build_packed
from training.export.packed.weights import PackedError
from training.export.parity import Reference
from training.modeling import Model
from training.modeling.after_pooling import Dense
from training.modeling.encoder import Encoder


def refusal(reference: Reference, max_tokens: int = MAX_TOKENS) -> str:
    with pytest.raises(PackedError) as refused:
        build_packed(reference.model, max_tokens=max_tokens, pad_id=0)
    return str(refused.value)


def test_unknown_architecture_is_refused_by_name() -> None:
    trunk = ElectraModel(ElectraConfig(**SIZES))
    reference = Reference(Model(Encoder(trunk, "mean"), {}), make_reference().tokenizer, MAX_TOKENS, 0)

    assert refusal(reference).startswith("ElectraModel has no packed graph; BertModel, RobertaModel")


@pytest.mark.parametrize(
    ("pooling", "name"), [("max", "max"), ("lasttoken", "lasttoken"), (["cls", "mean"], "cls+mean")]
)
def test_other_poolings_are_refused(pooling: Pooling, name: str) -> None:
    assert refusal(make_reference(pooling=pooling, heads=False)).startswith(f"{name} pooling has no packed graph")


def test_what_follows_the_pooling_is_refused() -> None:
    trunk = make_reference().model.encoder.trunk
    dense = Dense(HIDDEN, 16, bias=True, activation="Tanh", residual=False)
    model = Model(Encoder(trunk, "mean", [dense]), {})

    assert refusal(Reference(model, make_reference().tokenizer, MAX_TOKENS, 0)).startswith("Dense(32, 16, Tanh) behind")


def test_a_graph_of_over_2_gb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Huge:
        def SerializeToString(self, *, deterministic: bool) -> bytes:  # protobuf's name
            raise EncodeError(f"Failed to serialize proto, {deterministic}")

    monkeypatch.setattr("training.export.packed.export.build_graph", lambda *_: Huge())

    assert refusal(make_reference()) == "the packed graph in fp16 is over 2 GB, the most that one ONNX file holds"


def test_unknown_activation_is_refused() -> None:
    reference = make_reference()
    reference.model.encoder.trunk.config.hidden_act = "relu"

    assert "activation relu has no packed graph" in refusal(reference)


def test_decoder_is_refused() -> None:
    reference = make_reference()
    reference.model.encoder.trunk.config.is_decoder = True

    assert "set up as a decoder" in refusal(reference)


def test_odd_head_size_is_refused() -> None:
    reference = make_reference()
    reference.model.encoder.trunk.config.num_attention_heads = 8

    assert refusal(reference) == "attention heads of 4; fused attention takes multiples of 8 up to 256"


def test_weight_without_a_place_is_refused() -> None:
    """As an adapter would be, whose part in every answer would be lost."""
    reference = make_reference()
    reference.model.encoder.trunk.embeddings.extra = nn.Linear(2, 2)

    assert "no place for, such as embeddings.extra.weight" in refusal(reference)


def test_missing_weight_is_refused() -> None:
    reference = make_reference()
    reference.model.encoder.trunk.config.num_hidden_layers = 3

    assert "has no weight encoder.layer.2." in refusal(reference)


def test_wrong_shape_is_refused() -> None:
    reference = make_reference()
    norm = reference.model.encoder.trunk.embeddings.LayerNorm
    norm.weight = nn.Parameter(torch.ones(31))

    assert refusal(reference) == "embeddings.LayerNorm.weight has shape (31,), not (32,)"


def test_weight_over_half_precision_is_refused() -> None:
    reference = make_reference()
    with torch.no_grad():
        reference.model.encoder.trunk.embeddings.word_embeddings.weight[7, 3] = 70000

    assert refusal(reference) == "a weight of 70000 is over 65504, the largest half-precision number"


def test_more_tokens_than_positions_are_refused() -> None:
    assert refusal(make_reference("roberta"), MAX_TOKENS + 1) == "41 tokens need positions up to 42; the encoder has 42"
