"""Small encoders of every kind, as tables of a recipe."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from training.modeling import LoadedEncoder, load_encoder
from training.recipe.encoder import AnyEncoder, RecurrentEncoder, TransformerEncoder

SMALL_RECURRENT = {"embedding": 12, "hidden": 16, "layers": 2, "max_tokens": 24}
SMALL_TRANSFORMER = {"hidden": 32, "layers": 2, "heads": 4, "feed_forward": 48, "max_tokens": 24}
DIRECTIONS = {"one direction": False, "two directions": True}

RECURRENT: Mapping[str, Mapping[str, Any]] = {
    f"{name}, {directions}": {**cell, "bidirectional": is_bidirectional, **SMALL_RECURRENT}
    for name, cell in {
        "rnn": {"kind": "rnn"},
        "rnn of relu": {"kind": "rnn", "activation": "relu"},
        "lstm": {"kind": "lstm"},
        "gru": {"kind": "gru"},
    }.items()
    for directions, is_bidirectional in DIRECTIONS.items()
}
TRANSFORMERS: Mapping[str, Mapping[str, Any]] = {
    f"{positions}, {norm}-norm": {"kind": "transformer", "positions": positions, "norm": norm, **SMALL_TRANSFORMER}
    for positions in ("sinusoidal", "learned", "rotary")
    for norm in ("pre", "post")
}
ALL = {**RECURRENT, **TRANSFORMERS}

TEXTS = ["switch on the lamp", "turn off the heater in the kitchen", "stop the radio", "start the old television"] * 3


def table_of(raw: Mapping[str, Any]) -> RecurrentEncoder | TransformerEncoder:
    table = TypeAdapter[Any](AnyEncoder).validate_python({**raw})
    assert isinstance(table, RecurrentEncoder | TransformerEncoder)
    return table


def fresh(raw: Mapping[str, Any], *, seed: int = 3) -> LoadedEncoder:
    return load_encoder(table_of(raw), TEXTS, seed=seed)
