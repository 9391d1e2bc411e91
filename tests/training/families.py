"""A tiny encoder of each family with random weights, as a folder that transformers has saved."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from tests.training.tiny import wordpiece

MAX_TOKENS = 48
VOCABULARY = 200
HIDDEN = 32

SIZES: Mapping[str, object] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.2,  # the usual 0.02 gives nearly the same vector for every text
    "max_position_embeddings": MAX_TOKENS,
    "pad_token_id": 0,
}
AFTER_PAD: Mapping[str, object] = {**SIZES, "max_position_embeddings": MAX_TOKENS + 2, "pad_token_id": 1}
DEBERTA: Mapping[str, object] = {
    **SIZES,
    "relative_attention": True,
    "position_biased_input": False,
    "position_buckets": 8,  # far fewer than positions, as in the published models: most distances are logarithmic
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
}


def _distilbert() -> PreTrainedModel:
    return DistilBertModel(
        DistilBertConfig(
            vocab_size=VOCABULARY,
            dim=HIDDEN,
            n_layers=2,
            n_heads=4,
            hidden_dim=64,
            initializer_range=0.2,
            max_position_embeddings=MAX_TOKENS,
        )
    )


def _modernbert() -> PreTrainedModel:
    """One layer that sees all, two that see 8 tokens to each side."""
    special = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    sizes = {**SIZES, "num_hidden_layers": 3, "local_attention": 16, "initializer_cutoff_factor": 3.0}
    return ModernBertModel(ModernBertConfig(**sizes, **special))


FAMILIES: Mapping[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SIZES)),
    "roberta": lambda: RobertaModel(RobertaConfig(**AFTER_PAD, type_vocab_size=1)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**AFTER_PAD, type_vocab_size=1)),
    "distilbert": _distilbert,
    "mpnet": lambda: MPNetModel(MPNetConfig(**AFTER_PAD)),
    "deberta-v2": lambda: DebertaV2Model(
        DebertaV2Config(**DEBERTA, conv_kernel_size=3, conv_act="gelu", type_vocab_size=0)
    ),
    "deberta-v3": lambda: DebertaV2Model(DebertaV2Config(**DEBERTA, type_vocab_size=0)),
    "modernbert": _modernbert,
}


def save_family(family: str, folder: Path) -> Path:
    """The encoder in `folder`, with a tokenizer. Biases are drawn too: transformers starts them at 0."""
    torch.manual_seed(5)
    trunk = FAMILIES[family]().eval()
    with torch.no_grad():
        for name, parameter in trunk.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3)
    trunk.save_pretrained(folder)
    plain_wordpiece().save(str(folder / "tokenizer.json"))
    return folder


def plain_wordpiece() -> Tokenizer:
    """One that neither pads nor truncates, so that transformers reads it as we do."""
    tokenizer = wordpiece()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def with_files(transformer: Path, folder: Path, files: Mapping[str, object]) -> Path:
    """A copy of the transformer with JSON `files` beside it, by their paths."""
    shutil.copytree(transformer, folder)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def module_list(*kinds: str) -> list[dict[str, object]]:
    """`modules.json` as sentence-transformers wrote it before version 6: the first in the root, others in a folder."""
    return [
        {"idx": n, "name": str(n), "path": f"{n}_{kind}" if n else "", "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
