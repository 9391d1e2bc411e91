"""How does a classifier that transformers has saved become a model here?

Its head is taken as it is, without dropout: what stands between a pooled vector and its logits in each family. The
bundle's vector is the one that the head reads, since that is what the fine-tuning has shaped: the first token's state,
or ModernBERT's mean where its config says so.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoModelForSequenceClassification
from transformers.activations import ACT2FN

from app.bundle.manifest import ClassifyHead, PoolingMode
from training.errors import TrainingError
from training.importing.imported import HEAD, Imported
from training.importing.labels import read_meaning
from training.modeling.encoder import encoder_of, load_weights
from training.modeling.folder import MODULES_FILE, read_json
from training.modeling.model import Model, logits_name
from training.modeling.settings import read_settings
from training.modeling.source import CONFIG
from training.recipe.encoder import EncoderTable

SUFFIX = "ForSequenceClassification"

Layers = Callable[[Any], list[nn.Module]]  # of transformers' model, which is not typed


def _bert(model: Any) -> list[nn.Module]:  # noqa: ANN401
    return [model.bert.pooler.dense, model.bert.pooler.activation, model.classifier]


def _roberta(model: Any) -> list[nn.Module]:  # noqa: ANN401  # MPNet's is the same
    return [model.classifier.dense, nn.Tanh(), model.classifier.out_proj]


def _distilbert(model: Any) -> list[nn.Module]:  # noqa: ANN401
    return [model.pre_classifier, nn.ReLU(), model.classifier]


def _deberta(model: Any) -> list[nn.Module]:  # noqa: ANN401
    return [model.pooler.dense, ACT2FN[model.config.pooler_hidden_act], model.classifier]


def _modernbert(model: Any) -> list[nn.Module]:  # noqa: ANN401
    return [model.head.dense, model.head.act, model.head.norm, model.classifier]


FAMILIES: Mapping[str, Layers] = {
    "Bert": _bert,
    "Roberta": _roberta,
    "XLMRoberta": _roberta,
    "DistilBert": _distilbert,
    "MPNet": _roberta,
    "DebertaV2": _deberta,
    "ModernBert": _modernbert,
}


def is_classifier(folder: Path) -> bool:
    """`folder` is transformers' own, and its weights are those of a classifier of texts."""
    return not (folder / MODULES_FILE).is_file() and _architecture(folder).endswith(SUFFIX)


def load_classifier(folder: Path, table: EncoderTable) -> Imported:
    """The classifier in `folder`.

    Raises:
        TrainingError: its family, labels or files are not supported, or weights are missing.
    """
    family = _architecture(folder).removesuffix(SUFFIX)
    if family not in FAMILIES:
        raise TrainingError(
            f"{folder} is a {family}{SUFFIX}, whose head is not known here; known are "
            f"{', '.join(name + SUFFIX for name in FAMILIES)}. A recipe that names it as encoder.source takes "
            "its encoder alone"
        )
    if table.pooling is not None:
        raise TrainingError(f"{folder} is a classifier, whose head says what it pools; leave --pooling out")
    path = folder / CONFIG
    meaning = read_meaning(read_json(path), path)
    model: Any = load_weights(folder, AutoModelForSequenceClassification)
    head = nn.Sequential(*FAMILIES[family](model))
    loaded = encoder_of(model.base_model, read_settings(folder, pooling=_pooling(model.config)), table)
    described = ClassifyHead(
        name=HEAD, output=logits_name(HEAD), problem_type=meaning.problem_type, labels=meaning.labels
    )
    return Imported(Model(loaded.encoder, {HEAD: head}).eval(), loaded, [described], meaning.notes)


def _architecture(folder: Path) -> str:
    """The class that saved the weights; empty where config.json does not say."""
    said = read_json(folder / CONFIG).get("architectures")
    return str(said[0]) if isinstance(said, list) and said else ""


def _pooling(config: Any) -> PoolingMode:  # noqa: ANN401  # the families' configs share no type
    """What the head reads."""
    said = getattr(config, "classifier_pooling", "cls")  # ModernBERT's: cls or mean
    return "mean" if said == "mean" else "cls"
