"""Which weights share a rate and a decay?

Biases and normalisation weights (all one-dimensional) do not decay: there is nothing in them to regularise. A fresh
head learns `head_lr_scale` times faster than the top layer of a pretrained encoder, and each layer below that
`layer_decay` times as fast as the one above (arXiv:1801.06146 section 3.2), the embeddings slowest.
"""

from typing import Any, NamedTuple

from torch import nn

from training.modeling.depth import depths
from training.modeling.model import Model
from training.recipe.settings import OptimTable


class Kind(NamedTuple):
    """What the weights of a group have in common."""

    is_head: bool
    decays: bool
    lr_scale: float
    is_matrix: bool  # of the encoder, and no table of embeddings


def parameter_groups(model: Model, table: OptimTable) -> dict[Kind, dict[str, Any]]:
    """The groups of all weights that train, each with its `params`, `peak_lr` and `weight_decay`.

    Raises:
        TrainingError: `layer_decay` is asked for, and the encoder does not show its layers.
    """
    scales = _layer_scales(model, table.layer_decay)
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    groups: dict[Kind, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_head = name.startswith("heads.")
        kind = Kind(
            is_head=is_head,
            decays=parameter.ndim > 1,
            lr_scale=table.head_lr_scale if is_head else scales.get(name, 1.0),
            is_matrix=not is_head and parameter.ndim == 2 and id(parameter) not in embeddings,
        )
        empty = {
            "params": [],
            "peak_lr": table.lr * kind.lr_scale,
            "weight_decay": table.weight_decay if kind.decays else 0.0,
        }
        groups.setdefault(kind, empty)["params"].append(parameter)
    return groups


def _layer_scales(model: Model, layer_decay: float) -> dict[str, float]:
    """By the name of a weight of the encoder; the top layer has 1."""
    if layer_decay == 1.0:
        return {}
    by_name, layers = depths(model.encoder)
    return {f"encoder.{name}": layer_decay ** (layers - depth) for name, depth in by_name.items()}
