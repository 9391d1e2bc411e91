"""A folder of sentence-transformers gives the vectors that sentence-transformers gives, or is refused by name."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import normalizers
from torch import nn

from app.bundle.scoring import unit
from tests.training.families import HIDDEN, module_list, plain_wordpiece, save_family, with_files
from tests.training.sentence_folders import NORMALIZE, Made, dense, save_folder, vectors_of
from training.data.collate import encode, pad
from training.modeling import LoadedEncoder, load_encoder
from training.recipe.encoder import EncoderTable

Floats = NDArray[np.float32]

pytestmark = pytest.mark.slow

CLOSE = 1e-5
TEXTS = ["switch on the lamp", "", "stop", "turn off the light in the kitchen", "Start The HEATER " * 30]


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT as transformers saves it."""
    return save_family("bert", tmp_path_factory.mktemp("bert"))


def found(loaded: LoadedEncoder, texts: Sequence[str] = TEXTS) -> Floats:
    """What would be served: all texts in one batch, and normalised where the folder says so."""
    with torch.no_grad():
        raw = loaded.encoder(*pad(encode(loaded.tokenizer, texts, loaded.max_tokens), loaded.pad_id)).numpy()
    return unit(raw) if loaded.normalize else raw


def load(folder: Path) -> LoadedEncoder:
    return load_encoder(EncoderTable(source=str(folder)))


LAYER_NORM: Made = ("LayerNorm", {"dimension": HIDDEN})
DROPOUT: Made = ("Dropout", {"dropout": 0.5})
FOLDERS: Mapping[str, tuple[Sequence[str], Sequence[Made], int]] = {  # pooling, what follows, width of the vectors
    "mean": (["mean"], [], HIDDEN),
    "cls": (["cls"], [], HIDDEN),
    "max": (["max"], [], HIDDEN),
    "last token": (["lasttoken"], [], HIDDEN),
    "sum by the root of the length": (["mean_sqrt_len_tokens"], [], HIDDEN),
    "weighted mean": (["weightedmean"], [], HIDDEN),
    "three joined": (["lasttoken", "mean", "cls"], [], 3 * HIDDEN),
    "normalised": (["mean"], [NORMALIZE], HIDDEN),
    "dense": (["cls"], [dense(HIDDEN, 16, nn.Tanh())], 16),
    "dense of joined": (["cls", "max"], [dense(2 * HIDDEN, 16, nn.Tanh()), NORMALIZE], 16),
    "dense without bias and activation": (["mean"], [dense(HIDDEN, 16, nn.Identity(), bias=False)], 16),
    "two dense": (["mean"], [dense(HIDDEN, 48, nn.GELU()), DROPOUT, dense(48, 8, nn.ReLU()), NORMALIZE], 8),
    "residual": (["mean"], [dense(HIDDEN, HIDDEN, nn.SiLU(), use_residual=True)], HIDDEN),
    "residual of another size": (["mean"], [dense(HIDDEN, 8, nn.Sigmoid(), use_residual=True)], 8),
    "normalised between": (["mean"], [NORMALIZE, dense(HIDDEN, 16, nn.Tanh())], 16),
    "layer norm": (["mean"], [LAYER_NORM, DROPOUT, NORMALIZE], HIDDEN),
}


@pytest.mark.parametrize(("pooling", "after", "width"), FOLDERS.values(), ids=FOLDERS.keys())
def test_vectors_are_those_of_sentence_transformers(
    pooling: Sequence[str], after: Sequence[Made], width: int, transformer: Path, tmp_path: Path
) -> None:
    folder = save_folder(tmp_path / "saved", transformer, pooling=pooling, after=after)

    loaded = load(folder)

    vectors = found(loaded)
    assert vectors.shape == (len(TEXTS), width) == (len(TEXTS), loaded.encoder.width)
    assert np.abs(vectors - vectors_of(folder, TEXTS)).max() < CLOSE


def test_flags_of_older_folders_are_joined_in_the_order_of_the_library(transformer: Path, tmp_path: Path) -> None:
    flags = {
        "word_embedding_dimension": HIDDEN,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": True,
        "pooling_mode_cls_token": True,
        "pooling_mode_lasttoken": False,
    }
    files = {"modules.json": module_list("Transformer", "Pooling", "Normalize"), "1_Pooling/config.json": flags}
    folder = with_files(transformer, tmp_path / "old", files)

    loaded = load(folder)

    assert loaded.pooling == ["cls", "max", "mean"]
    assert np.abs(found(loaded) - vectors_of(folder, TEXTS)).max() < CLOSE


def test_limit_and_lowercase_of_older_folders_are_kept(transformer: Path, tmp_path: Path) -> None:
    cased = plain_wordpiece()
    cased.normalizer = normalizers.BertNormalizer(lowercase=False)
    files = {
        "modules.json": module_list("Transformer", "Pooling"),
        "1_Pooling/config.json": {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": 12, "do_lower_case": True},
        "tokenizer_config.json": {"do_lower_case": False, "model_max_length": 40, "tokenizer_class": "BertTokenizer"},
        "tokenizer.json": json.loads(cased.to_str()),
    }
    folder = with_files(transformer, tmp_path / "old", files)

    loaded = load(folder)

    assert loaded.max_tokens == 12
    assert np.abs(found(loaded) - vectors_of(folder, TEXTS)).max() < CLOSE
    assert np.array_equal(found(loaded, ["STOP"]), found(loaded, ["stop"]))


def test_transformer_in_a_folder_of_its_own_is_found(transformer: Path, tmp_path: Path) -> None:
    """As the first versions wrote it."""
    folder = tmp_path / "old"
    shutil.copytree(transformer, folder / "0_Transformer")
    entries = module_list("Transformer", "Pooling")
    entries[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": HIDDEN}))

    assert np.abs(found(load(folder)) - vectors_of(folder, TEXTS)).max() < CLOSE


def test_prompts_are_kept_and_a_text_with_one_gets_the_same_vector(transformer: Path, tmp_path: Path) -> None:
    prompts = {"query": "stop the ", "document": ""}
    folder = save_folder(tmp_path / "saved", transformer, prompts=prompts)

    loaded = load(folder)

    assert loaded.prompts == {"query": "stop the "}
    prompted = vectors_of(folder, ["lamp"], prompt_name="query")
    assert np.abs(found(loaded, [loaded.prompts["query"] + "lamp"]) - prompted).max() < CLOSE
