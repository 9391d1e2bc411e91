"""How deep does each weight of an encoder lie, and which of them stay as they are?

Depth 0 are the embeddings, 1 is the lowest layer, L the topmost. What stands outside of the layers is low when it feeds
them (tables of positions and of relative attention) and high when it follows them (a last normalisation, a Dense).
"""

import re

from torch import nn

from training.errors import TrainingError
from training.modeling.adapters import has_adapters
from training.modeling.base import TextEncoder
from training.recipe.encoder import Freeze


def depths(encoder: TextEncoder) -> tuple[dict[str, int], int]:
    """The depth of each parameter by its name, and the number L of layers.

    Raises:
        TrainingError: the layers are not to be seen one by one.
    """
    prefix, count = _layers(encoder.trunk)
    inside = re.compile(rf"trunk\.{re.escape(prefix)}\.(\d+)\.")
    found: dict[str, int] = {}
    for name, parameter in encoder.named_parameters():
        layer = inside.match(name)
        feeds = name.startswith("trunk.embeddings.") or (name.startswith("trunk.") and parameter.ndim > 1)
        found[name] = int(layer[1]) + 1 if layer else 0 if feeds else count
    return found, count


def freeze(encoder: TextEncoder, what: Freeze) -> None:
    """Let nothing train of `what`: "all", "embeddings", or these and the lowest so many layers.

    Raises:
        TrainingError: there are fewer layers, or they are not to be seen one by one.
    """
    if what == "all":
        encoder.requires_grad_(False)
        return
    lowest = 0 if what == "embeddings" else what
    by_name, count = depths(encoder)
    if lowest > count:
        raise TrainingError(f"encoder.freeze = {lowest}: the encoder has {count} layers; take fewer")
    for name, parameter in encoder.named_parameters():
        if by_name[name] <= lowest:
            parameter.requires_grad_(False)


def train_mode(model: nn.Module) -> None:
    """Training mode, but for what is frozen: dropout before weights that do not learn would only add noise. Between
    adapters it has its use, and is kept.
    """
    model.train()
    if has_adapters(model):
        return
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def _layers(trunk: nn.Module) -> tuple[str, int]:
    """The name of the list of layers in `trunk`, and its length."""
    count = getattr(getattr(trunk, "config", None), "num_hidden_layers", None)
    for name, module in trunk.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, len(module)
    raise TrainingError(
        f'{type(trunk).__name__} does not show its layers one by one, which encoder.freeze (but for "all") and '
        "optim.layer_decay need; leave them out"
    )
