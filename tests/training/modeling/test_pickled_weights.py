"""Pickled weights are refused with the command that converts them, and the command does."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.classifiers import save_classifier
from tests.training.families import module_list, save_family, with_files
from training.errors import TrainingError
from training.modeling.source import find_source
from training.recipe.encoder import EncoderTable


def refusal(folder: Path) -> str:
    with pytest.raises(TrainingError, match="pickled weights are not read") as refused:
        find_source(EncoderTable(source=str(folder)))
    return str(refused.value)


def pickle(folder: Path, name: str = "pytorch_model.bin") -> Path:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / name)
    (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.long
def test_command_of_the_refusal_converts_a_classifier_with_its_head(tmp_path: Path) -> None:
    folder = save_classifier("bert", tmp_path / "a bert", {0: "off", 1: "on", 2: "other"})
    weights = load_file(folder / "model.safetensors")
    command = refusal(pickle(folder)).split("`")[1]

    program, *arguments = shlex.split(command)
    assert program == "python"
    subprocess.run([sys.executable, *arguments], check=True, timeout=60, capture_output=True)

    converted = load_file(find_source(EncoderTable(source=str(folder))) / "model.safetensors")
    assert converted.keys() == weights.keys()
    assert all(torch.equal(converted[name], weights[name]) for name in weights)


def test_folder_of_sentence_transformers_is_saved_anew_by_itself(tmp_path: Path) -> None:
    bert = pickle(save_family("bert", tmp_path / "bert"))
    folder = with_files(bert, tmp_path / "sentence", {"modules.json": module_list("Transformer", "Pooling")})

    assert f"SentenceTransformer as S; S('{folder}').save('{folder}')" in refusal(folder)


def test_model_of_no_known_class_is_saved_as_an_encoder(tmp_path: Path) -> None:
    folder = pickle(save_family("bert", tmp_path / "bert"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: config[key] for key in config if key != "architectures"}))

    assert "from transformers import AutoModel as M; M.from_pretrained(" in refusal(folder)


@pytest.mark.parametrize("name", ["best.pt", "model.ckpt", "weights.pkl"])
def test_other_pickles_are_named(name: str, tmp_path: Path) -> None:
    folder = pickle(save_family("bert", tmp_path / "bert"), name)

    assert f"({name} would have to be unpickled, which runs what is in it)" in refusal(folder)


def test_folder_without_weights_says_so(tmp_path: Path) -> None:
    folder = save_family("bert", tmp_path / "bert")
    (folder / "model.safetensors").unlink()

    with pytest.raises(TrainingError, match=r"has no model\.safetensors; it holds no weights"):
        find_source(EncoderTable(source=str(folder)))
