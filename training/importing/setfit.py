"""How does a SetFit model become a model here?

Its body is a folder of sentence-transformers, its head one linear layer over the body's vector (setfit_head.py), which
is normalised first where the body ends in Normalize or `config_setfit.json` says so.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from app.bundle.manifest import ClassifyHead, Json
from training.errors import TrainingError
from training.importing.imported import HEAD, Imported
from training.importing.setfit_head import PICKLED, SNIPPET, WEIGHTS, LinearHead, read_head
from training.modeling import ClassifierHead, Model, load_encoder, logits_name
from training.modeling.after_pooling import Normalize
from training.modeling.folder import read_json
from training.recipe.encoder import EncoderTable

CONFIG = "config_setfit.json"


def is_setfit(folder: Path) -> bool:
    """`folder` holds SetFit's files beside those of sentence-transformers."""
    return any((folder / name).is_file() for name in (CONFIG, PICKLED, WEIGHTS))


def load_setfit(folder: Path, table: EncoderTable) -> Imported:
    """The body with its head.

    Raises:
        TrainingError: the head is pickled still, is not known, or does not belong to the body.
    """
    if table.pooling is not None:
        raise TrainingError(f"{folder} is a SetFit model, whose head reads its body's own pooling; leave --pooling out")
    if not (folder / WEIGHTS).is_file():
        raise TrainingError(_how_to_convert(folder, table.source))
    head, config = read_head(folder), read_json(folder / CONFIG)
    loaded = load_encoder(table)
    labels, notes = _labels(head, config, folder)
    if head.weight_CD.shape[1] != loaded.encoder.width:
        raise TrainingError(
            f"{folder / WEIGHTS} reads vectors of {head.weight_CD.shape[1]} values; the body gives "
            f"{loaded.encoder.width}"
        )
    described = ClassifyHead(
        name=HEAD,
        output=logits_name(HEAD),
        problem_type="multi_label" if head.is_multi_label else "single_label",
        labels=labels,
        temperature=head.temperature,
    )
    is_normalized = loaded.normalize or config.get("normalize_embeddings") is True
    layer = _linear(head)
    module = nn.Sequential(Normalize(loaded.encoder.width), layer) if is_normalized else layer
    return Imported(Model(loaded.encoder, {HEAD: module}).eval(), loaded, [described], notes)


def _how_to_convert(folder: Path, source: str) -> str:
    if not (folder / PICKLED).is_file():  # of a hub id, which is fetched without pickles
        return (
            f"{source} is a SetFit model without {WEIGHTS}, and its pickled head is not fetched: get all of it with "
            f"`hf download {source} --local-dir FOLDER`, and import FOLDER"
        )
    return (
        f"{folder} is a SetFit model whose head is pickled ({PICKLED}), and a pickle runs what is in it, so it is not "
        "read here. If you trust it, run this in Python where the model comes from, then import it once more:\n\n"
        + SNIPPET.format(folder=str(folder))
    )


def _linear(head: LinearHead) -> ClassifierHead:
    layer = ClassifierHead(head.weight_CD.shape[1], len(head.weight_CD), dropout=0.0)
    weights = {"linear.weight": head.weight_CD, "linear.bias": head.bias_C}
    layer.load_state_dict({name: torch.from_numpy(array).float() for name, array in weights.items()})
    return layer


def _labels(head: LinearHead, config: Json, folder: Path) -> tuple[list[str], Sequence[str]]:
    """One a logit, and lines for people.

    Raises:
        TrainingError: `labels` of config_setfit.json are not those of the head.
    """
    count, said = len(head.weight_CD), config.get("labels")
    classes = list(range(count)) if head.classes is None else head.classes
    if len(classes) != count:
        raise TrainingError(f"{folder}: the head has {count} labels and its model_head.json names {len(classes)}")
    if isinstance(said, list) and all(isinstance(one, int) for one in classes):
        if max(map(int, classes)) >= len(said):
            raise TrainingError(f"{folder / CONFIG} names {len(said)} labels; the head has number {max(classes)}")
        return [str(said[int(one)]) for one in classes], ()
    if head.classes is not None and not all(isinstance(one, int) for one in classes):
        return [str(one) for one in classes], ()
    names = [f"LABEL_{one}" for one in classes]
    return names, [
        f"{folder / CONFIG} gives no labels: they are kept as {names[0]}, …; write `labels` there to name them"
    ]
