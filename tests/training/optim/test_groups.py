"""Rates and decay go to the weights they are meant for, and none to those that are frozen."""

from pathlib import Path

import pytest
from transformers import DistilBertConfig, DistilBertModel, ModernBertConfig, ModernBertModel, MPNetConfig, MPNetModel

from training.errors import TrainingError
from training.modeling import ClassifierHead, Encoder, Model, load_encoder
from training.modeling.depth import depths, freeze, train_mode
from training.optim import Stepper, make_stepper
from training.recipe.encoder import EncoderTable, Freeze
from training.recipe.settings import OptimTable


@pytest.fixture
def model(tiny_encoder: Path) -> Model:
    encoder = load_encoder(EncoderTable(source=str(tiny_encoder))).encoder
    return Model(encoder, {"label": ClassifierHead(32, 2, 0.0)})


def rates(model: Model, stepper: Stepper) -> dict[str, tuple[float, float]]:
    """The rate and the decay of each weight, by its name."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"])
        for optimizer in stepper.optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_biases_and_norms_do_not_decay_and_heads_learn_faster(model: Model) -> None:
    stepper = make_stepper(model, OptimTable(lr=1e-4, head_lr_scale=20.0, weight_decay=0.01))
    stepper.set_lr(0.5)

    found = rates(model, stepper)

    assert set(found) == {name for name, _ in model.named_parameters()}
    for name, (lr, decay) in found.items():
        plain = name.endswith("bias") or "LayerNorm" in name
        assert decay == (0.0 if plain else 0.01), name
        assert lr == pytest.approx(1e-3 if name.startswith("heads.") else 5e-5), name


def test_each_layer_learns_slower_than_the_one_above_it(model: Model) -> None:
    stepper = make_stepper(model, OptimTable(lr=1e-4, head_lr_scale=20.0, layer_decay=0.5))
    stepper.set_lr(1.0)

    found = rates(model, stepper)

    assert len(found) == len(list(model.parameters()))
    for name, (lr, _) in found.items():
        scale = 20.0 if name.startswith("heads.") else 1.0 if ".1." in name else 0.5 if ".0." in name else 0.25
        assert lr == pytest.approx(1e-4 * scale), name


SIZES = {"vocab_size": 50, "num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 8}
FAMILIES = {
    "distilbert": lambda: DistilBertModel(DistilBertConfig(vocab_size=50, dim=8, hidden_dim=8, n_layers=3, n_heads=2)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SIZES)),
    "modernbert": lambda: ModernBertModel(ModernBertConfig(**SIZES, pad_token_id=0)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_found_in_every_family(family: str) -> None:
    by_name, count = depths(Encoder(FAMILIES[family](), "mean"))

    assert count == 3
    assert set(by_name.values()) == {0, 1, 2, 3}
    assert by_name[next(name for name in by_name if "embeddings" in name)] == 0
    if family == "modernbert":
        assert by_name["trunk.final_norm.weight"] == 3
    if family == "mpnet":
        assert by_name["trunk.encoder.relative_attention_bias.weight"] == 0


@pytest.mark.parametrize(
    ("what", "trains"),
    [("embeddings", (".0.", ".1.")), (1, (".1.",)), (2, ()), ("all", ())],
    ids=["embeddings", "one layer", "two layers", "all"],
)
def test_what_is_frozen_has_no_rate_and_no_dropout(what: Freeze, trains: tuple[str, ...], model: Model) -> None:
    freeze(model.encoder, what)
    train_mode(model)

    found = set(rates(model, make_stepper(model, OptimTable())))

    assert found == {
        name
        for name, _ in model.named_parameters()
        if name.startswith("heads.") or any(part in name for part in trains)
    }
    layers = model.encoder.trunk.encoder.layer
    assert [layer.training for layer in layers] == [f".{number}." in trains for number in range(2)]
    assert not model.encoder.trunk.embeddings.training
    assert model.heads.training


def test_more_frozen_layers_than_there_are_is_an_error(model: Model) -> None:
    with pytest.raises(TrainingError, match=r"encoder\.freeze = 3: the encoder has 2 layers"):
        freeze(model.encoder, 3)


def test_an_encoder_that_does_not_show_its_layers_is_an_error(model: Model) -> None:
    model.encoder.trunk.config.num_hidden_layers = 7

    with pytest.raises(TrainingError, match=r"BertModel does not show its layers.*optim\.layer_decay"):
        make_stepper(model, OptimTable(layer_decay=0.9))
    freeze(model.encoder, "all")
