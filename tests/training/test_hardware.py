"""A device that is not there is refused; what computing in other ways changes is undone."""

from pathlib import Path

import pytest
import torch

from tests.training.tiny import MakeRecipe
from training.errors import TrainingError
from training.hardware import made_ready, pick_device
from training.modeling import ClassifierHead, Model, load_encoder
from training.recipe.encoder import EncoderTable
from training.recipe.settings import HardwareTable

CPU = torch.device("cpu")


@pytest.fixture
def model(tiny_encoder: Path) -> Model:
    encoder = load_encoder(EncoderTable(source=str(tiny_encoder))).encoder
    return Model(encoder, {"label": ClassifierHead(32, 2, 0.0)})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"device": "cuda"}, 'hardware.device = "cuda": torch finds no GPU here; "auto" takes the CPU then'),
        ({"precision": "fp16"}, 'hardware.precision = "fp16" trains on CUDA only, and torch finds no GPU here'),
    ],
    ids=["no GPU", "no half precision"],
)
def test_what_is_not_there_is_refused(table: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert pick_device(HardwareTable()) == CPU
    with pytest.raises(TrainingError, match=message):
        pick_device(HardwareTable.model_validate(table))


def test_compiling_without_a_compiler_is_refused(
    model: Model, make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)

    with (
        pytest.raises(TrainingError, match="needs a C"),
        made_ready(model, make_recipe(hardware={"compile": True}), CPU),
    ):
        raise AssertionError("nothing can be compiled here")


def test_mixed_precision_is_for_gradients_alone_and_is_undone(model: Model, make_recipe: MakeRecipe) -> None:
    ids_BT = torch.randint(5, 90, (2, 7))
    exact_BD = model.eval().encoder(ids_BT, torch.ones_like(ids_BT))
    keys = set(vars(model.encoder))

    with made_ready(model, make_recipe(hardware={"precision": "bf16"}), CPU):
        rough_BD = model.encoder(ids_BT, torch.ones_like(ids_BT))
        with torch.inference_mode():
            judged_BD = model.encoder(ids_BT, torch.ones_like(ids_BT))

    assert rough_BD.dtype == torch.float32
    assert 1e-5 < (rough_BD - exact_BD).abs().max().item() < 0.1
    assert torch.equal(judged_BD, exact_BD)
    assert torch.equal(model.encoder(ids_BT, torch.ones_like(ids_BT)), exact_BD)
    assert set(vars(model.encoder)) == keys


def test_checkpointing_runs_every_layer_twice_for_the_same_gradients(model: Model, make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(encoder={"source": "x", "checkpointing": True})
    ids_BT = torch.randint(5, 90, (2, 7))
    runs: list[int] = []
    model.encoder.trunk.encoder.layer[0].attention.register_forward_pre_hook(lambda *_: runs.append(1))

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(5)  # dropout is on
        model.zero_grad()
        torch.autograd.backward(model.train()(ids_BT, torch.ones_like(ids_BT))["logits_label"].square().sum())
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    plain = gradients()
    with made_ready(model, recipe, CPU):
        checkpointed = gradients()
    again = gradients()

    assert len(runs) == 1 + 2 + 1
    assert all(torch.equal(one, other) for one, other in zip(plain, checkpointed, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
