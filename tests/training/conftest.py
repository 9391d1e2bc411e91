"""A tiny encoder with real files, and data it can learn in a second."""

from pathlib import Path

import pytest
import torch
from transformers import BertModel

from tests.training.tiny import MakeRecipe, bert_config, intent_splits, pair_splits, scored_splits, wordpiece
from training.data.rows import Splits
from training.recipe import Recipe


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny matrices gain nothing from threads, and lose much where cores are shared."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of two layers and its tokenizer."""
    folder = tmp_path_factory.mktemp("tiny-encoder")
    torch.manual_seed(0)
    BertModel(bert_config()).save_pretrained(folder)
    wordpiece().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def calm_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One without dropout: two ways to the same gradient can be compared."""
    folder = tmp_path_factory.mktemp("calm-encoder")
    torch.manual_seed(0)
    BertModel(bert_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).save_pretrained(folder)
    wordpiece().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def make_recipe(tiny_encoder: Path) -> MakeRecipe:
    """Makes a recipe over the tiny encoder: `make_recipe(task="classify", budget={...}, …)`."""

    def make(*, task: str = "classify", **tables: object) -> Recipe:
        loss = {"classify": "cross_entropy", "embed": "in_batch_negatives"}[task]
        raw: dict[str, object] = {
            "name": "tiny",
            "encoder": {"source": str(tiny_encoder)},
            "head": {"task": task},
            "data": {"source": "files", "train": "unused.jsonl"},
            "loss": {"name": loss},
            "optim": {"lr": 3e-3, "head_lr_scale": 5.0},
            "budget": {"epochs": 3, "batch_size": 4, "checkpoint_steps": 3},
        }
        return Recipe.model_validate({**raw, **tables})

    return make


@pytest.fixture(scope="session")
def intents() -> Splits:
    """24 training sentences under two labels."""
    return intent_splits()


@pytest.fixture(scope="session")
def pairs() -> Splits:
    """24 pairs of sentences that say the same of the same thing."""
    return pair_splits()


@pytest.fixture(scope="session")
def scored() -> Splits:
    """Pairs of sentences with scores of how alike they are."""
    return scored_splits()
