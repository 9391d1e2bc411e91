"""What makes another vector of the pooled one?

The modules that may follow Pooling in a folder of sentence-transformers, with the same names and the same numbers:
Dense, LayerNorm, and Normalize where another one follows it. B rows of a batch, D values in, E values out.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from app.bundle.manifest import Json
from training.errors import TrainingError
from training.modeling.folder import ModuleFolder, read_json

WEIGHTS = "model.safetensors"
ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.Sigmoid, nn.SiLU)
}


class AfterPooling(nn.Module):
    """One of them. `width` is how many values it gives; its `str` is one line for people and fingerprints."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


class Dense(AfterPooling):
    """`activation(W x + b)`, and with `residual` the input, or a product of it where E is not D, on top of that."""

    def __init__(self, width: int, out: int, *, bias: bool, activation: str, residual: bool) -> None:
        super().__init__(out)
        self.linear = nn.Linear(width, out, bias=bias)
        self.activation = ACTIVATIONS[activation]()
        self.residual = _residual(width, out) if residual else None

    def forward(self, vector_BD: torch.Tensor) -> torch.Tensor:
        """[B, E]."""
        vector_BE: torch.Tensor = self.activation(self.linear(vector_BD))
        return vector_BE if self.residual is None else vector_BE + self.residual(vector_BD)

    def __str__(self) -> str:
        more = "" if self.residual is None else ", residual"
        return f"Dense({self.linear.in_features}, {self.width}, {type(self.activation).__name__}{more})"


class LayerNorm(AfterPooling):
    """Layer normalisation of the vector, with scale and shift."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.norm = nn.LayerNorm(width)

    def forward(self, vector_BD: torch.Tensor) -> torch.Tensor:
        """[B, D]."""
        normal_BD: torch.Tensor = self.norm(vector_BD)
        return normal_BD

    def __str__(self) -> str:
        return "LayerNorm"


class Normalize(AfterPooling):
    """Length 1."""

    def forward(self, vector_BD: torch.Tensor) -> torch.Tensor:
        """[B, D]."""
        return nn.functional.normalize(vector_BD, dim=1)

    def __str__(self) -> str:
        return "Normalize"


def load_modules(folders: Sequence[ModuleFolder], width: int) -> list[AfterPooling]:
    """The modules in `folders`, float32, for a pooled vector of `width` values.

    Raises:
        TrainingError: weights or settings that are missing, do not fit, or are not supported.
    """
    modules: list[AfterPooling] = []
    for folder in folders:
        modules.append(_load(folder, modules[-1].width if modules else width))
    return modules


def _load(folder: ModuleFolder, width: int) -> AfterPooling:
    config = read_json(folder.path / "config.json")
    if folder.kind == "Normalize":
        return Normalize(width)
    _check_width(folder, config.get("dimension" if folder.kind == "LayerNorm" else "in_features"), width)
    module = LayerNorm(width) if folder.kind == "LayerNorm" else _dense(folder.path, config, width)
    _load_weights(module, folder.path)
    return module


def _dense(path: Path, config: Json, width: int) -> Dense:
    out = config.get("out_features")
    if not isinstance(out, int) or out < 1:
        raise TrainingError(f"encoder.source: {path / 'config.json'} has out_features {out!r}, not a number of values")
    return Dense(
        width,
        out,
        bias=config.get("bias") is not False,
        activation=_activation(path, config),
        residual=config.get("use_residual") is True,
    )


def _residual(width: int, out: int) -> nn.Module:
    return nn.Identity() if width == out else nn.Linear(width, out, bias=False)


def _check_width(folder: ModuleFolder, said: object, width: int) -> None:
    if said != width:
        raise TrainingError(
            f"encoder.source: {folder.kind} in {folder.path} takes vectors of {said} values; what is before it gives "
            f"{width}"
        )


def _activation(path: Path, config: Json) -> str:
    """The name of an activation of torch; a source's own class would be its own code."""
    said = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))  # sentence-transformers' default
    name = said.rsplit(".", 1)[-1]
    if not said.startswith("torch.nn.") or name not in ACTIVATIONS:
        raise TrainingError(
            f"encoder.source: Dense in {path} has the activation {said}; supported are torch.nn's "
            f"{', '.join(ACTIVATIONS)}"
        )
    return name


def _load_weights(module: AfterPooling, folder: Path) -> None:
    path = folder / WEIGHTS
    if not path.is_file():
        raise TrainingError(
            f"encoder.source: {folder} has no {WEIGHTS}; pickled weights are not read: save the model once more with "
            "`SentenceTransformer(FOLDER).save(FOLDER)`"
        )
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:  # torch raises RuntimeError for names and shapes that do not fit
        raise TrainingError(f"encoder.source: {path} does not fit: {' '.join(str(error).split())}") from error
