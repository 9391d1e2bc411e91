"""What decides every draw of a run?

The states of the generators that code under training may use (python, numpy, torch, and torch's on a GPU), as plain
JSON.
"""

import base64
import random
from typing import cast

import numpy as np
import torch

from app.bundle.manifest import Json


def seed_all(seed: int) -> None:
    """The same draws from here on, for the same seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state() -> Json:
    """Where the generators stand. "cuda" is there where there is a GPU."""
    version, words, gauss = random.getstate()
    name, keys, place, has_gauss, cached = cast(
        tuple[str, np.ndarray, int, int, float], np.random.get_state(legacy=True)
    )
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, keys.tolist(), place, has_gauss, cached],
        "torch": _to_text(torch.get_rng_state()),
        **({"cuda": _to_text(torch.cuda.get_rng_state())} if torch.cuda.is_available() else {}),
    }


def set_rng_state(state: Json) -> None:
    """Put the generators back to where `rng_state` found them."""
    version, words, gauss = cast(tuple[int, list[int], float | None], state["python"])
    random.setstate((version, tuple(words), gauss))
    name, keys, place, has_gauss, cached = cast(tuple[str, list[int], int, int, float], state["numpy"])
    np.random.set_state((name, np.array(keys, np.uint32), place, has_gauss, cached))
    torch.set_rng_state(_from_text(state["torch"]))
    if "cuda" in state:
        torch.cuda.set_rng_state(_from_text(state["cuda"]))


def _to_text(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode("ascii")


def _from_text(text: object) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(cast(str, text)), np.uint8).copy())
