"""Every optimiser moves the weights it should and keeps all it needs; fp16 finds its scale."""

import math
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from training.modeling import ClassifierHead, Model, load_encoder
from training.optim import Average, Stepper, make_stepper
from training.optim.lion import Lion
from training.recipe.encoder import EncoderTable
from training.recipe.settings import OptimTable

NAMES: tuple[str, ...] = get_args(OptimTable.model_fields["name"].annotation)


def build(folder: Path) -> Model:
    torch.manual_seed(1)
    encoder = load_encoder(EncoderTable(source=str(folder))).encoder
    return Model(encoder, {"label": ClassifierHead(32, 2, 0.0)}).eval()


def move(model: Model, stepper: Stepper, steps: int, *, seed: int = 0) -> None:
    """A few steps on random rows; without dropout, so that they depend on `seed` alone."""
    stepper.set_lr(1.0)
    for step in range(steps):
        ids_BT = torch.randint(0, 100, (4, 6), generator=torch.Generator().manual_seed(seed + step))
        stepper.zero_grad()
        stepper.backward(model(ids_BT, torch.ones_like(ids_BT))["logits_label"].square().mean())
        assert math.isfinite(stepper.step(1.0))


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_tensors_are_all_of_the_state(name: str, tiny_encoder: Path) -> None:
    table = OptimTable.model_validate({"name": name, "lr": 1e-3, "head_lr_scale": 1.0})
    model, other = build(tiny_encoder), build(tiny_encoder)
    stepper, restored = make_stepper(model, table), make_stepper(other, table)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}

    move(model, stepper, 3)
    other.load_state_dict(model.state_dict())
    restored.restore({key: tensor.clone() for key, tensor in stepper.tensors().items()}, stepper.scaling())
    move(model, stepper, 2, seed=3)
    move(other, restored, 2, seed=3)

    moved = [key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])]
    assert len(moved) > 30
    assert all(isinstance(tensor, torch.Tensor) for tensor in stepper.tensors().values())
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key]), key
    assert stepper.tensors().keys() == restored.tensors().keys()
    assert all(torch.equal(tensor, restored.tensors()[key]) for key, tensor in stepper.tensors().items())


def test_muon_moves_the_matrices_of_the_encoder_and_adamw_the_rest(tiny_encoder: Path) -> None:
    model = build(tiny_encoder)
    names = {parameter: name for name, parameter in model.named_parameters()}

    muon, adamw = make_stepper(model, OptimTable(name="muon")).optimizers

    matrices = {names[parameter] for group in muon.param_groups for parameter in group["params"]}
    others = {names[parameter] for group in adamw.param_groups for parameter in group["params"]}
    assert isinstance(muon, torch.optim.Muon)
    assert len(matrices) == 12  # query, key, value, output and the two of the feed-forward, in two layers
    assert all(name.endswith("weight") and ".layer." in name for name in matrices)
    assert matrices | others == set(names.values())
    assert not matrices & others


def test_lion_steps_as_its_paper_says() -> None:
    """Algorithm 2 by hand, two steps of two weights."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    lion = Lion([{"params": [weight], "lr": 0.1, "weight_decay": 0.5}], lr=0.0)
    value, momentum = [1.0, -2.0], [0.0, 0.0]

    for gradient in ([0.5, -0.25], [-0.02, 1.0]):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        lion.step()
        for place, slope in enumerate(gradient):
            direction = math.copysign(1.0, 0.9 * momentum[place] + 0.1 * slope)
            value[place] -= 0.1 * (direction + 0.5 * value[place])
            momentum[place] = 0.99 * momentum[place] + 0.01 * slope

    assert weight.tolist() == pytest.approx(value)


def test_an_overflow_moves_nothing_and_halves_the_scale(tiny_encoder: Path) -> None:
    model = build(tiny_encoder)
    stepper = make_stepper(model, OptimTable(name="muon"), torch.amp.GradScaler("cpu", init_scale=2.0))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}

    for _ in range(2):
        assert stepper.is_searching
        stepper.zero_grad()
        stepper.backward(sum((tensor * float("inf")).sum() for tensor in model.heads.parameters()) + torch.zeros(()))
        assert not math.isfinite(stepper.step(1.0))

    assert stepper.scaling()["scale"].item() == 0.5
    assert not stepper.is_searching
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_the_scale_goes_on_from_where_it_stood(tiny_encoder: Path) -> None:
    model = build(tiny_encoder)
    first = make_stepper(model, OptimTable(), torch.amp.GradScaler("cpu", init_scale=8.0))
    move(model, first, 3)
    second = make_stepper(model, OptimTable(), torch.amp.GradScaler("cpu"))

    second.restore(first.tensors(), first.scaling())

    assert second.scaling() == first.scaling() == {"scale": torch.tensor(8.0), "steps_since_growth": torch.tensor(3)}


def test_the_average_follows_its_rule_and_gives_the_weights_back(tiny_encoder: Path) -> None:
    model = build(tiny_encoder)
    average = Average(model, 0.9)
    weight = next(model.parameters())
    expected = weight[0, 0].item()

    for step in range(200):
        with torch.no_grad():
            weight.fill_(float(step))
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step

    with average.in_place():
        assert weight[0, 0].item() == pytest.approx(expected, rel=1e-5)
    assert weight[0, 0].item() == 199.0
