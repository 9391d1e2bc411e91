"""Tiny encoders of every family that has a packed graph, with random weights."""

from collections.abc import Callable, Mapping

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from app.bundle.manifest import Pooling
from tests.data.make_tiny import sentences, wordpiece
from training.export.parity import Reference
from training.modeling import ClassifierHead, Model
from training.modeling.encoder import Encoder

MAX_TOKENS = 40
HIDDEN = 32
VOCABULARY = 400

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.2,  # the usual 0.02 gives nearly the same vector for every text
}
DISTILBERT_SIZES = {
    "vocab_size": VOCABULARY,
    "dim": HIDDEN,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 64,
    "initializer_range": 0.2,
}


def _bert(**changes: object) -> PreTrainedModel:
    return BertModel(BertConfig(**SIZES, max_position_embeddings=MAX_TOKENS, **changes))


def _roberta() -> PreTrainedModel:
    return RobertaModel(RobertaConfig(**SIZES, max_position_embeddings=MAX_TOKENS + 2))


def _xlm_roberta() -> PreTrainedModel:
    return XLMRobertaModel(XLMRobertaConfig(**SIZES, max_position_embeddings=MAX_TOKENS + 2))


def _distilbert() -> PreTrainedModel:
    return DistilBertModel(DistilBertConfig(**DISTILBERT_SIZES, max_position_embeddings=MAX_TOKENS))


def _mpnet() -> PreTrainedModel:
    return MPNetModel(MPNetConfig(**SIZES, max_position_embeddings=MAX_TOKENS + 2))


TRUNKS: Mapping[str, Callable[[], PreTrainedModel]] = {
    "bert": _bert,
    "bert-tanh": lambda: _bert(hidden_act="gelu_new"),
    "roberta": _roberta,
    "xlm-roberta": _xlm_roberta,
    "distilbert": _distilbert,
    "mpnet": _mpnet,
}

MakeReference = Callable[..., Reference]


def make_reference(family: str = "bert", *, pooling: Pooling = "mean", heads: bool = True) -> Reference:
    """The torch model as the gate compares with it. Biases are drawn too: transformers starts them at 0."""
    torch.manual_seed(3)
    trunk = TRUNKS[family]().eval()
    with torch.no_grad():
        for name, parameter in trunk.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3)
    found = {"intent": ClassifierHead(HIDDEN, 4, dropout=0.5), "tone": ClassifierHead(HIDDEN, 1, dropout=0.0)}
    model = Model(Encoder(trunk, pooling), found if heads else {}).eval()
    tokenizer = wordpiece([text for text, _label in sentences()])
    return Reference(model, tokenizer, MAX_TOKENS, int(trunk.config.pad_token_id))


@pytest.fixture(scope="session")
def bert() -> Reference:
    """A BERT with mean pooling and two heads. Nobody changes it."""
    return make_reference()
