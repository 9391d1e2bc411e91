"""Adapters train alone, and vanish into the layers they stand beside."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from app.bundle.open import open_bundle
from tests.data.make_tiny import make_sources
from tests.training.evaluation.test_served import served
from tests.training.families import FAMILIES, save_family
from tests.training.test_loop import Stop, run, same_weights
from tests.training.tiny import MakeRecipe
from training.data import load
from training.data.rows import Row, Splits
from training.errors import TrainingError
from training.evaluation.judges import JUDGES
from training.evaluation.trained import Judged, TrainedHead
from training.export.onnx import torchscript
from training.finetune import build_model, fine_tune
from training.modeling import load_encoder
from training.modeling.adapters import add_adapters, has_adapters, merge_adapters
from training.modeling.depth import train_mode
from training.progress import Progress
from training.recipe import load_recipe
from training.recipe.encoder import EncoderTable, LoraTable
from training.run import train

IDS_BT = torch.tensor([[2, 30, 31, 32, 3], [2, 33, 34, 3, 0]])
MASK_BT = (IDS_BT != 0).long()
LORA = {"rank": 4, "alpha": 8.0}


def moved(encoder: torch.nn.Module) -> None:
    """As after some training: B starts at zero, where a merge would add nothing."""
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_and_unmerged_vectors_are_the_same(family: str, tmp_path: Path) -> None:
    encoder = load_encoder(EncoderTable(source=str(save_family(family, tmp_path)))).encoder
    before = encoder(IDS_BT, MASK_BT)
    names = list(encoder.state_dict())

    add_adapters(encoder, LoraTable())
    encoder.eval()
    torch.testing.assert_close(encoder(IDS_BT, MASK_BT), before)
    moved(encoder)
    unmerged = encoder(IDS_BT, MASK_BT)
    merge_adapters(encoder)

    assert not torch.allclose(unmerged, before, atol=1e-2)
    torch.testing.assert_close(encoder(IDS_BT, MASK_BT), unmerged, atol=1e-5, rtol=1e-5)
    assert list(encoder.state_dict()) == names
    assert not hasattr(encoder.trunk, "peft_config")


def test_only_adapters_and_heads_train(make_recipe: MakeRecipe, tiny_encoder: Path, intents: Splits) -> None:
    recipe = make_recipe(encoder={"source": str(tiny_encoder), "lora": {**LORA, "targets": ["query", "value"]}})

    model = build_model(load_encoder(recipe.encoder), recipe, intents.labels)

    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    layers = [f"{layer}.attention.self.{part}" for layer in (0, 1) for part in ("query", "value")]
    adapters = {f"encoder.trunk.encoder.layer.{name}.lora_{side}.default.weight" for name in layers for side in "AB"}
    assert learning == adapters | {name for name in learning if name.startswith("heads.")}
    assert any(name.startswith("heads.") for name in learning)
    train_mode(model)
    assert model.encoder.trunk.embeddings.training


def test_a_target_that_is_no_layer_is_refused_with_those_there_are(tiny_encoder: Path) -> None:
    encoder = load_encoder(EncoderTable(source=str(tiny_encoder))).encoder

    with pytest.raises(TrainingError, match=r'targets: "q_proj" ends the name of no linear layer.*dense, key, query'):
        add_adapters(encoder, LoraTable(targets=["query", "q_proj"]))


@pytest.mark.parametrize("task", ["classify", "embed"])
def test_a_stopped_run_with_adapters_ends_in_the_same_bits(
    task: str, make_recipe: MakeRecipe, tiny_encoder: Path, intents: Splits, pairs: Splits, tmp_path: Path
) -> None:
    """With all that reads weights by name: the average, the decay by layer, and what is computed twice."""
    encoder = {"source": str(tiny_encoder), "lora": LORA, "checkpointing": True}
    optim = {"lr": 3e-3, "layer_decay": 0.8, "ema": 0.9}
    recipe, splits = make_recipe(task=task, encoder=encoder, optim=optim), intents if task == "classify" else pairs

    whole = run(recipe, splits, tmp_path / "whole")
    with pytest.raises(Stop):
        run(recipe, splits, tmp_path / "stopped", stop_at=5)
    resumed = run(recipe, splits, tmp_path / "stopped", resume=True)

    assert same_weights(whole.model, resumed.model)
    assert "going on from step-00000003" in " ".join(resumed.lines)


def test_a_run_without_adapters_does_not_go_on_from_one_with_them(
    make_recipe: MakeRecipe, tiny_encoder: Path, intents: Splits, tmp_path: Path
) -> None:
    run(make_recipe(encoder={"source": str(tiny_encoder), "lora": LORA}), intents, tmp_path)

    with pytest.raises(TrainingError, match=r"recipe encoder\.lora\.rank was 4, is nothing"):
        run(make_recipe(), intents, tmp_path, resume=True)


def test_what_is_judged_is_merged(
    make_recipe: MakeRecipe, tiny_encoder: Path, intents: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    judge = JUDGES["single_label"]

    def judged(trained: TrainedHead, probes: Sequence[Row], figures: Mapping[str, object]) -> Judged:
        seen.append(has_adapters(trained.model))
        return judge(trained, probes, figures)

    monkeypatch.setitem(JUDGES, "single_label", judged)
    recipe = make_recipe(encoder={"source": str(tiny_encoder), "lora": LORA})

    tuned = fine_tune(recipe, intents, runs=tmp_path, resume=False, progress=Progress())

    assert seen == [False]
    weights = load_encoder(EncoderTable(source=str(tiny_encoder))).encoder.weights()
    assert tuned.loaded.encoder.weights().keys() == weights.keys()
    changed = {
        name for name, tensor in tuned.loaded.encoder.weights().items() if not torch.equal(tensor, weights[name])
    }
    assert changed == {name for name in weights if name.endswith("weight") and ".layer." in name and "Norm" not in name}


@pytest.mark.slow
def test_a_model_with_adapters_passes_the_gate_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    monkeypatch.setattr("training.export.variants.MAKERS", ())
    make_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    path, overrides = tmp_path / "tiny.toml", ["encoder.lora={}", "optim.lr=0.01", "budget.epochs=12"]

    folder = train(path, models=tmp_path, progress=Progress(), overrides=overrides)

    rows = load(load_recipe(path, overrides), tmp_path).test
    answers = served(tmp_path, rows)
    right = [answer["label"] == row.label for answer, row in zip(answers, rows, strict=True)]
    accuracy = sum(right) / len(right)
    assert accuracy == open_bundle(folder).manifest.metrics["accuracy"]
    assert accuracy > 0.9
