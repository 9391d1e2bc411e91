"""On what, and in which numbers, does a model train?

Mixed precision keeps weights, heads and losses in float32 and runs the encoder alone in 16 bits, the way forward and
back (arXiv:1710.03740). Whatever is judged or exported runs in float32. All of it is undone after the training.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from training.errors import TrainingError
from training.modeling.base import TextEncoder
from training.modeling.model import Model
from training.recipe import Recipe
from training.recipe.encoder import EncoderTable
from training.recipe.settings import HardwareTable

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(table: HardwareTable) -> torch.device:
    """The device of a recipe; "auto" is CUDA where there is a GPU.

    Raises:
        TrainingError: there is no GPU and one is needed, or it cannot do what is asked.
    """
    has_cuda = torch.cuda.is_available()
    if table.device == "cuda" and not has_cuda:
        raise TrainingError('hardware.device = "cuda": torch finds no GPU here; "auto" takes the CPU then')
    device = torch.device("cpu" if table.device == "cpu" or not has_cuda else "cuda")
    if table.precision == "fp16" and device.type == "cpu":
        raise TrainingError('hardware.precision = "fp16" trains on CUDA only, and torch finds no GPU here; take "bf16"')
    if table.precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise TrainingError('hardware.precision = "bf16": this GPU has none (compute capability 8.0 has); take "fp16"')
    return device


def make_scaler(table: HardwareTable, device: torch.device) -> torch.amp.GradScaler | None:
    """The loss scaling that fp16 needs; None for the others."""
    return torch.amp.GradScaler(device.type) if table.precision == "fp16" else None


@contextmanager
def made_ready(model: Model, recipe: Recipe, device: torch.device) -> Iterator[None]:
    """While this lasts, `model`, which is on `device`, computes as the recipe's `[hardware]` and `[encoder]` say.

    Raises:
        TrainingError: the encoder or this machine cannot do it.
    """
    with ExitStack() as undone:
        if isinstance(recipe.encoder, EncoderTable) and recipe.encoder.checkpointing:
            undone.enter_context(_checkpointing(model.encoder))
        if recipe.hardware.precision != "fp32":
            undone.enter_context(_lowered(model.encoder, device, DTYPES[recipe.hardware.precision]))
        if recipe.hardware.compile:
            undone.enter_context(_compiled(model.encoder, device))
        yield


@contextmanager
def _checkpointing(encoder: TextEncoder) -> Iterator[None]:
    """Keep the inputs of layers only and compute the rest again on the way back (arXiv:1604.06174)."""
    trunk: Any = encoder.trunk
    try:
        trunk.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        trunk.disable_input_require_grads()  # a hook for the reentrant kind, which would stay behind
    except (AttributeError, ValueError) as error:
        raise TrainingError(f"encoder.checkpointing: {type(trunk).__name__} cannot do it; leave it out") from error
    try:
        yield
    finally:
        trunk.activation_checkpointing_disable()


@contextmanager
def _lowered(encoder: TextEncoder, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Run the encoder in `dtype` where gradients are wanted; its vectors are float32 all the same."""
    forward = encoder.forward

    def lowered(*inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype=dtype, enabled=torch.is_grad_enabled()):
            return forward(*inputs, **named).float()

    encoder.forward = lowered  # type: ignore[method-assign]  # taken off again below
    try:
        yield
    finally:
        del encoder.forward


@contextmanager
def _compiled(encoder: TextEncoder, device: torch.device) -> Iterator[None]:
    """Compile the encoder in place: a wrapper would change the names of its weights."""
    compilers = [os.environ.get("CXX", ""), "g++", "clang++"]
    if device.type == "cpu" and not any(name and shutil.which(name) for name in compilers):
        raise TrainingError("hardware.compile needs a C++ compiler on the CPU (g++ or clang++, or name one in CXX)")
    encoder.compile(dynamic=True)
    try:
        yield
    finally:
        encoder._compiled_call_impl = None
