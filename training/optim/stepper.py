"""Which optimiser moves which weights, and what is all of its state?

AdamW (arXiv:1711.05101), SGD with momentum 0.9, Adafactor (arXiv:1804.04235) and Muon are torch's, Lion is ours. Muon
takes matrices only, so that the rest – embeddings, biases, heads – has an AdamW beside it; its updates are scaled to
the size of AdamW's (arXiv:2502.16982 section 2.2), so that one rate fits both.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from training.modeling.model import Model
from training.optim.groups import parameter_groups
from training.optim.lion import Lion
from training.parallel import sum_gradients
from training.recipe.settings import OptimTable

Tensors = Mapping[str, torch.Tensor]
LEAST_SCALE = 1.0  # of fp16 losses: below it, gradients overflow that were never scaled up
SCALE, GROWTH = "scale", "steps_since_growth"


class Stepper:
    """One optimiser or several as one, with the loss scaling of fp16.

    Args:
        optimizers: their groups have `peak_lr`.
        names: of every parameter.
        scaler: of fp16; without it, nothing is scaled.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        names: Mapping[torch.Tensor, str],
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.optimizers = optimizers
        self._names = names
        self._scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)

    def set_lr(self, factor: float) -> None:
        """Give each group its rate for this step."""
        for group in self._groups():
            group["lr"] = group["peak_lr"] * factor

    def zero_grad(self) -> None:
        """Forget the gradients of the step before."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`."""
        torch.autograd.backward(self._scaler.scale(loss))

    def step(self, clip_norm: float) -> float:
        """Sum the gradients of all ranks, clip them to `clip_norm` and move the weights; returns the norm before. One
        that is not finite moves nothing.
        """
        parameters = [parameter for group in self._groups() for parameter in group["params"]]
        sum_gradients(parameters)
        for optimizer in self.optimizers:
            self._scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm).item()
        if math.isfinite(norm):
            for optimizer in self.optimizers:
                self._scaler.step(optimizer)
        self._scaler.update()
        return norm

    @property
    def is_searching(self) -> bool:
        """Whether an infinite gradient is no fault: fp16 finds its scale by halving it after each one."""
        return self._scaler.is_enabled() and self._scaler.get_scale() >= LEAST_SCALE

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of the optimisers' state: `name of the parameter/name of the state`."""
        return {
            f"{self._names[parameter]}/{key}": tensor
            for optimizer in self.optimizers
            for parameter, state in optimizer.state.items()
            for key, tensor in state.items()
        }

    def scaling(self) -> dict[str, torch.Tensor]:
        """All of the loss scaling's state; empty but for fp16."""
        if not self._scaler.is_enabled():
            return {}
        state = self._scaler.state_dict()
        return {
            SCALE: torch.tensor(state["scale"], dtype=torch.float64),
            GROWTH: torch.tensor(state["_growth_tracker"]),
        }

    def restore(self, tensors: Tensors, scaling: Tensors) -> None:
        """Go on from what `tensors` and `scaling` gave."""
        by_parameter: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            parameter, _, key = name.rpartition("/")
            by_parameter.setdefault(parameter, {})[key] = tensor
        for optimizer in self.optimizers:
            names = [self._names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
            state = {number: by_parameter[name] for number, name in enumerate(names) if name in by_parameter}
            # The groups come from the recipe, which the fingerprint of a run covers.
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        if scaling:
            kept = {"scale": scaling[SCALE].item(), "_growth_tracker": int(scaling[GROWTH].item())}
            self._scaler.load_state_dict({**self._scaler.state_dict(), **kept})

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]


def make_stepper(model: Model, table: OptimTable, scaler: torch.amp.GradScaler | None = None) -> Stepper:
    """The optimiser of a recipe over all weights of `model` that train.

    Raises:
        TrainingError: `layer_decay` is asked for, and the encoder does not show its layers.
    """
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    by_kind = parameter_groups(model, table)
    groups = list(by_kind.values())
    match table.name:
        case "adamw":
            return Stepper([torch.optim.AdamW(groups, lr=table.lr)], names, scaler)
        case "sgd":
            return Stepper([torch.optim.SGD(groups, lr=table.lr, momentum=0.9)], names, scaler)
        case "adafactor":
            return Stepper([torch.optim.Adafactor(groups, lr=table.lr)], names, scaler)
        case "lion":
            return Stepper([Lion(groups, lr=table.lr)], names, scaler)
        case "muon":
            matrices = [group for kind, group in by_kind.items() if kind.is_matrix]
            others = [group for kind, group in by_kind.items() if not kind.is_matrix]
            muon = torch.optim.Muon(matrices, lr=table.lr, adjust_lr_fn="match_rms_adamw")
            return Stepper([muon, torch.optim.AdamW(others, lr=table.lr)], names, scaler)
