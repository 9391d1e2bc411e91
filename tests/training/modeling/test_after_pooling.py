"""What follows the pooling is a part of the encoder: it trains with it, and decides its digest and its width."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.training.families import HIDDEN, module_list, save_family, with_files
from training.data.rows import Splits
from training.export.describe import after_pooling, weights_digest
from training.finetune import fine_tune
from training.modeling import load_encoder
from training.progress import Progress
from training.recipe import Recipe
from training.recipe.encoder import EncoderTable

WIDTH = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with a Dense behind its mean."""
    place = tmp_path_factory.mktemp("dense")
    dense = {"in_features": HIDDEN, "out_features": WIDTH, "activation_function": "torch.nn.modules.activation.Tanh"}
    files = {
        "modules.json": module_list("Transformer", "Pooling", "Dense"),
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "2_Dense/config.json": dense,
    }
    made = with_files(save_family("bert", place / "bert"), place / "folder", files)
    torch.manual_seed(3)
    weights = {"linear.weight": torch.randn(WIDTH, HIDDEN) / 4, "linear.bias": torch.randn(WIDTH)}
    save_file(weights, str(made / "2_Dense" / "model.safetensors"))
    return made


def test_digest_follows_every_weight_behind_the_pooling(folder: Path) -> None:
    encoder = load_encoder(EncoderTable(source=str(folder))).encoder
    before = weights_digest(encoder.weights())

    with torch.no_grad():
        encoder.after_pooling[0].linear.bias[3] += 1e-6  # type: ignore[index, operator, union-attr]  # a Dense

    assert weights_digest(encoder.weights()) != before
    assert weights_digest(encoder.trunk.state_dict()) not in (before, weights_digest(encoder.weights()))
    assert after_pooling(encoder) == ["Dense(32, 16, Tanh)"]


def test_a_head_reads_the_vector_behind_it_and_both_are_trained(folder: Path, intents: Splits, tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "encoder": {"source": str(folder)},
            "head": {"task": "classify", "name": "intent"},
            "data": {"source": "files", "train": "unused.jsonl"},
            "loss": {"name": "cross_entropy"},
            "budget": {"epochs": 1, "batch_size": 12},
        }
    )
    untrained = load_encoder(recipe.encoder).encoder.weights()

    tuned = fine_tune(recipe, intents, runs=tmp_path, resume=False, progress=Progress())

    name = "after_pooling.0.linear.weight"
    assert tuned.model.heads["logits_intent"].linear.in_features == WIDTH  # type: ignore[union-attr]  # a ClassifierHead
    assert not torch.equal(tuned.loaded.encoder.weights()[name], untrained[name])
