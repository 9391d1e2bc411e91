"""Folders that sentence-transformers itself has saved, and the vectors that it gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from torch import nn

from tests.training.families import HIDDEN

Floats = NDArray[np.float32]
Made = tuple[str, Mapping[str, Any]]  # a module by its class, and what it is made with

NORMALIZE: Made = ("Normalize", {})


def dense(inputs: int, outputs: int, activation: nn.Module, **options: object) -> Made:
    return "Dense", {"in_features": inputs, "out_features": outputs, "activation_function": activation, **options}


def save_folder(
    folder: Path,
    transformer: Path,
    *,
    pooling: Sequence[str] = ("mean",),
    after: Sequence[Made] = (),
    prompts: dict[str, str] | None = None,
) -> Path:
    """The transformer with this pooling and these modules, weights drawn at random, as the library saves it."""
    torch.manual_seed(11)
    made = [getattr(modules, kind)(**arguments) for kind, arguments in after]
    for module in made:
        for parameter in module.parameters():
            nn.init.normal_(parameter, 0, 0.3)
    parts = [modules.Transformer(str(transformer)), modules.Pooling(HIDDEN, tuple(pooling)), *made]
    SentenceTransformer(modules=parts, device="cpu", prompts=prompts).save(str(folder), create_model_card=False)
    return folder


def vectors_of(folder: Path, texts: Sequence[str], **options: Any) -> Floats:  # noqa: ANN401  # encode's own
    """What sentence-transformers gives, the folder read anew."""
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    vectors: Floats = model.encode(list(texts), show_progress_bar=False, **options)
    return vectors
