"""What of a folder cannot be kept is refused by name, without the library that wrote it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.training.families import HIDDEN, module_list, save_family, with_files
from training.errors import TrainingError
from training.modeling import LoadedEncoder, load_encoder
from training.recipe.encoder import EncoderTable

Files = Mapping[str, object]


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT as transformers saves it."""
    return save_family("bert", tmp_path_factory.mktemp("bert"))


def load(folder: Path) -> LoadedEncoder:
    return load_encoder(EncoderTable(source=str(folder)))


POOLED = {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True}
DENSE = {
    "in_features": HIDDEN,
    "out_features": 16,
    "bias": True,
    "activation_function": "torch.nn.modules.activation.Tanh",
}


def with_dense(**changes: object) -> Files:
    return {
        "modules.json": module_list("Transformer", "Pooling", "Dense"),
        "1_Pooling/config.json": POOLED,
        "2_Dense/config.json": {**DENSE, **changes},
    }


def with_pooling(config: Mapping[str, object], **more: object) -> Files:
    return {"modules.json": module_list("Transformer", "Pooling"), "1_Pooling/config.json": config, **more}


ALONE = module_list("Transformer", "Pooling")
REFUSED: Mapping[str, tuple[Files, str]] = {
    "static embedding": (
        {"modules.json": module_list("StaticEmbedding", "Normalize")},
        "the modules StaticEmbedding, which",
    ),
    "lstm": (
        {"modules.json": module_list("WordEmbeddings", "LSTM", "Pooling")},
        "the modules WordEmbeddings, LSTM, which",
    ),
    "cnn": (
        {"modules.json": module_list("Transformer", "CNN", "Pooling")},
        "the modules CNN, which cannot be exported",
    ),
    "code of its own": (
        {"modules.json": [{"type": "modeling_own.Transformer", "path": ""}]},
        "modeling_own.Transformer, a module of the source's own; its code is never run",
    ),
    "outside": (
        {"modules.json": [*ALONE[:1], {"type": "sentence_transformers.models.Pooling", "path": "../1_Pooling"}]},
        "../1_Pooling, which is not inside",
    ),
    "no pooling": ({"modules.json": module_list("Transformer")}, "has Transformer; supported is Transformer, Pooling"),
    "no modules": ({"modules.json": []}, "has no modules; supported is Transformer, Pooling"),
    "dense first": (
        {"modules.json": module_list("Transformer", "Dense", "Pooling")},
        "has Transformer, Dense, Pooling; supp",
    ),
    "a vector a token": (with_dense(module_input_name="token_embeddings"), "module_input_name 'token_embeddings'"),
    "pickled dense": (with_dense(), r"2_Dense has no model\.safetensors; pickled weights are not read"),
    "wrong width": (with_dense(in_features=7), "takes vectors of 7 values; what is before it gives 32"),
    "no width": (with_dense(out_features=None), "has out_features None, not a number"),
    "unknown activation": (
        with_dense(activation_function="torch.nn.modules.Softmax"),
        "the activation torch.nn.modules.S",
    ),
    "foreign activation": (
        with_dense(activation_function="own.Tanh"),
        "the activation own.Tanh; supported are torch.nn's",
    ),
    "unknown pooling": (
        with_pooling({"pooling_mode": ["mean", "attention"]}),
        "pools by attention; supported are mean",
    ),
    "token states of a language model": (
        {"modules.json": ALONE, "sentence_bert_config.json": {"transformer_task": "fill-mask"}},
        "is for fill-mask; supported is feature-extraction",
    ),
    "pooler": (
        {
            "modules.json": ALONE,
            "sentence_bert_config.json": {"modality_config": {"text": {"method_output_name": "pooler_output"}}},
        },
        "pools pooler_output; supported is last_hidden_state",
    ),
    "its own tokenizing": (
        {
            "modules.json": ALONE,
            "sentence_bert_config.json": {"processing_kwargs": {"text": {"padding": "max_length"}}},
        },
        "sets processing_kwargs, which is not supported",
    ),
    "prompt unasked": (
        with_pooling(
            POOLED,
            **{"config_sentence_transformers.json": {"prompts": {"q": "query: "}, "default_prompt_name": "q"}},
        ),
        "puts the prompt 'q' before every text.*set default_prompt_name to null",
    ),
    "prompt left out": (
        with_pooling(
            {**POOLED, "include_prompt": False}, **{"config_sentence_transformers.json": {"prompts": {"q": "query: "}}}
        ),
        r"leaves the prompt \(q\) out of the pooling",
    ),
    "no object": ({"sentence_bert_config.json": [1]}, "not a JSON object"),
    "no list": ({"modules.json": {"a": 1}}, "cannot be read"),
}


@pytest.mark.parametrize(("files", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_kept_is_refused_by_name(files: Files, reason: str, transformer: Path, tmp_path: Path) -> None:
    folder = with_files(transformer, tmp_path / "copy", files)

    with pytest.raises(TrainingError, match=reason):
        load(folder)


def test_a_folder_without_a_transformer_is_refused_by_its_modules(tmp_path: Path) -> None:
    """A StaticEmbedding has no config.json: that is not what is wrong with it."""
    (tmp_path / "modules.json").write_text(json.dumps(module_list("StaticEmbedding")))

    with pytest.raises(TrainingError, match="the modules StaticEmbedding, which cannot be exported"):
        load(tmp_path)


def test_weights_of_another_dense_are_refused(transformer: Path, tmp_path: Path) -> None:
    folder = with_files(transformer, tmp_path / "copy", with_dense())
    save_file({"linear.weight": torch.zeros(16, 8)}, str(folder / "2_Dense" / "model.safetensors"))

    with pytest.raises(TrainingError, match=r"2_Dense/model\.safetensors does not fit: .*linear\.bias"):
        load(folder)


def test_prompts_out_of_the_pooling_make_no_difference_without_prompts(transformer: Path, tmp_path: Path) -> None:
    folder = with_files(transformer, tmp_path / "copy", with_pooling({**POOLED, "include_prompt": False}))

    assert load(folder).pooling == "mean"
