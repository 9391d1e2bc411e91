"""Rows of numbers under two labels, and small encoders of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tests.training.scratch.tables import RECURRENT, TRANSFORMERS
from training.data.rows import Counts, Row, Splits
from training.modeling import LoadedEncoder, load_encoder
from training.recipe.encoder import AnyEncoder

Floats = NDArray[np.float32]

WIDTH = 5
OFFSETS = np.array([0.0, 3.0, -100.0, 0.5, 7.0])
SCALES = np.array([1.0, 10.0, 0.01, 1.0, 0.0])  # the last value never changes

MLP = {"kind": "mlp", "widths": [24, 16]}
SEQUENCES: Mapping[str, Mapping[str, Any]] = {**RECURRENT, **TRANSFORMERS}
ALL: Mapping[str, Mapping[str, Any]] = {"mlp": MLP, **SEQUENCES}


def is_sequence(raw: Mapping[str, Any]) -> bool:
    return bool(raw["kind"] != "mlp")


def some_rows(count: int, *, sequences: bool, seed: int = 2, shift: float = 0.0) -> list[Floats]:
    """[F], or [T, F] of 1 to 9 vectors."""
    chance = np.random.default_rng(seed)
    shapes = [(1 + int(chance.integers(9)), WIDTH) if sequences else (WIDTH,) for _ in range(count)]
    return [(OFFSETS + SCALES * (chance.standard_normal(shape) + shift)).astype(np.float32) for shape in shapes]


def fresh(raw: Mapping[str, Any], rows: Sequence[Floats] = (), *, seed: int = 3) -> LoadedEncoder:
    """Made for `rows`, or for some."""
    table = TypeAdapter[Any](AnyEncoder).validate_python({**raw})
    return load_encoder(table, rows or some_rows(40, sequences=is_sequence(raw)), seed=seed)


def number_splits(*, sequences: bool) -> Splits:
    """Low and high numbers: 48 rows to train on, 16 for dev and for test."""
    parts: dict[str, list[Row]] = {}
    for split, count in {"train": 24, "dev": 8, "test": 8}.items():
        parts[split] = [
            Row("", f"{label}.jsonl:{number + 1}", label=label, vector=vector)
            for label, shift in (("high", 0.8), ("low", -0.8))
            for number, vector in enumerate(
                some_rows(count, sequences=sequences, seed=len(split) + count + int(shift * 10) % 7, shift=shift)
            )
        ]
    counts = {name: Counts(len(rows), len(rows), 0, 0) for name, rows in parts.items()}
    return Splits(parts["train"], parts["dev"], parts["test"], ["high", "low"], counts)
