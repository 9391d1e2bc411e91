"""How does an encoder learn by few weights?

LoRA (arXiv:2106.09685) through peft: beside each chosen linear layer W stand two thin matrices, and W + (alpha / rank)
B A takes the place of W; only A and B train. B starts at zero, so the encoder starts as it was. All linear layers of
the trunk have adapters unless the recipe names some (arXiv:2305.14314 section 4: adapters on all of them are needed to
come up to a full fine-tune). Before anything is judged on test rows or exported they are added into their layers, so
that a gate sees the weights that are served and a bundle holds those of a full fine-tune by their usual names.
"""

from collections.abc import Sequence

from torch import nn

from training.errors import TrainingError
from training.modeling.base import TextEncoder
from training.recipe.encoder import LoraTable

PART = ".lora_"  # in the name of a weight of an adapter


def add_adapters(encoder: TextEncoder, table: LoraTable) -> None:
    """Put adapters beside linear layers of the trunk and let nothing else of it train.

    Raises:
        TrainingError: a target is no linear layer of the trunk, or it has none.
    """
    from peft import LoraConfig, inject_adapter_in_model  # takes a second, and most runs have no adapters

    config = LoraConfig(
        r=table.rank,
        lora_alpha=table.alpha,
        lora_dropout=table.dropout,
        target_modules=_targets(encoder.trunk, table.targets),
    )
    inject_adapter_in_model(config, encoder.trunk)


def merge_adapters(encoder: TextEncoder) -> None:
    """Add each adapter into its layer and take it away; nothing where there are none.

    Raises:
        TrainingError: a merged weight is not finite.
    """
    if not has_adapters(encoder):
        return
    from peft.tuners.lora import LoraLayer

    for name, module in list(encoder.trunk.named_modules()):
        if isinstance(module, LoraLayer):
            try:
                module.merge(safe_merge=True)
            except ValueError as error:
                raise TrainingError(f"encoder.lora: {name} cannot be merged: {error}") from error
            encoder.trunk.set_submodule(name, module.get_base_layer())
    del encoder.trunk.peft_config
    encoder.requires_grad_(True)


def has_adapters(model: nn.Module) -> bool:
    """Whether any of its weights is one of an adapter."""
    return any(PART in name for name, _ in model.named_parameters())


def _targets(trunk: nn.Module, asked: Sequence[str] | None) -> list[str]:
    """The full names of the layers that get an adapter; `asked` are names or their ends ("query", "output.dense")."""
    linear = [name for name, module in trunk.named_modules() if isinstance(module, nn.Linear)]
    ends = sorted({name.rpartition(".")[2] for name in linear})
    if not linear:
        raise TrainingError(f"encoder.lora: {type(trunk).__name__} has no linear layers; leave it out")
    for target in asked or ():
        if not any(_is_named(name, target) for name in linear):
            raise TrainingError(
                f'encoder.lora.targets: "{target}" ends the name of no linear layer of {type(trunk).__name__}; '
                f"its names end in {', '.join(ends)}"
            )
    return [name for name in linear if asked is None or any(_is_named(name, target) for target in asked)]


def _is_named(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")
