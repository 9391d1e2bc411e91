"""Which keys may a recipe have, and which did its author mean?

Read off the types of this package, so that they cannot disagree.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from pydantic import BaseModel

from training.recipe.data import DatasetData, DigitsData, FileData, HomeIntentsData
from training.recipe.encoder import EncoderTable, MlpTable, RecurrentEncoder, TransformerEncoder
from training.recipe.heads import ClassifyTask, EmbedTask
from training.recipe.more_heads import MoreHead
from training.recipe.run import Recipe

# The tables whose type one of their own keys decides: table → (that key, its value → type).
UNIONS: dict[str, tuple[str, dict[str, type[BaseModel]]]] = {
    "data": (
        "source",
        {"files": FileData, "dataset": DatasetData, "home-assistant-intents": HomeIntentsData, "digits": DigitsData},
    ),
    "head": ("task", {"embed": EmbedTask, "classify": ClassifyTask}),
    "encoder": (
        "kind",
        {
            "pretrained": EncoderTable,
            "lstm": RecurrentEncoder,
            "gru": RecurrentEncoder,
            "rnn": RecurrentEncoder,
            "transformer": TransformerEncoder,
            "mlp": MlpTable,
        },
    ),
}
DEFAULTS = {"encoder": "pretrained"}  # the value of the deciding key where it is not there
_PLACE = re.compile(r"more_heads\.\d+\.")


def unknown_keys(raw: Mapping[str, Any]) -> Iterator[str]:
    """A problem for each key of `raw` that no recipe has, and for each table whose kind is not clear."""
    yield from _unknown_in(raw, Recipe, "", raw)


def _unknown_in(table: Mapping[str, Any], kind: type[BaseModel], prefix: str, raw: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        dotted = f"{prefix}{key}"
        if key not in kind.model_fields:
            yield f"{dotted} is not a key{_way_out(prefix, key, raw)}"
        elif isinstance(value, dict):
            chosen = _table_type(kind, key, value, prefix)
            if isinstance(chosen, str):
                yield chosen
            elif chosen is not None:
                yield from _unknown_in(value, chosen, f"{dotted}.", raw)
        elif isinstance(value, list):
            item = next(_models_in(kind.model_fields[key].annotation), None)
            for number, table in enumerate(value):
                if item is not None and isinstance(table, dict):
                    place = f"{dotted}.{number}." if item is MoreHead else f"{dotted}."
                    yield from _unknown_in(table, item, place, raw)


def _way_out(prefix: str, key: str, raw: Mapping[str, Any]) -> str:
    """The kind of table the key belongs to, if there is one; else the nearest known key."""
    chooser, types = UNIONS.get(_PLACE.sub("", prefix).removesuffix("."), ("", {}))
    for name, kind in types.items():
        if key in kind.model_fields:
            return f' here: it belongs to {prefix}{chooser} = "{name}"'
    place = _PLACE.match(prefix)
    if place is None:
        return f"; did you mean {_nearest(prefix + key, list(_known_keys(raw)))}?"
    known = [*_keys_of(MoreHead, ""), *(f"head.{name}" for name in ClassifyTask.model_fields)]
    return f"; did you mean {place[0]}{_nearest(_PLACE.sub('', prefix) + key, known)}?"


def _table_type(kind: type[BaseModel], key: str, value: Mapping[str, Any], prefix: str) -> type[BaseModel] | str | None:
    """The type of the table `key`; a str says why it has none; None: it is no table with fixed keys."""
    if kind in (Recipe, MoreHead) and key in UNIONS:
        chooser, types = UNIONS[key]
        choices = ", ".join(f'"{name}"' for name in types)
        if chooser not in value and key not in DEFAULTS:
            return f"{prefix}{key}.{chooser}: is missing; write one of {choices}"
        chosen = value.get(chooser, DEFAULTS.get(key))
        if not isinstance(chosen, str) or chosen not in types:
            return (
                f'{prefix}{key}.{chooser}: is none of {choices}; did you mean "{_nearest(str(chosen), list(types))}"?'
            )
        return types[chosen]
    return next(_models_in(kind.model_fields[key].annotation), None)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models_in(part)


def _known_keys(raw: Mapping[str, Any]) -> Iterator[str]:
    """Every dotted key of a recipe; of `data` and `head` those of the type that is chosen, or else of all."""
    yield from _keys_of(Recipe, "")
    for table, (chooser, types) in UNIONS.items():
        value = raw.get(table)
        chosen = types.get(str(value.get(chooser, DEFAULTS.get(table)))) if isinstance(value, dict) else None
        for kind in [chosen] if chosen else types.values():
            yield from _keys_of(kind, f"{table}.")


def _keys_of(kind: type[BaseModel], prefix: str) -> Iterator[str]:
    for key, field in kind.model_fields.items():
        yield f"{prefix}{key}"
        if not (kind is Recipe and key in UNIONS):
            for model in _models_in(field.annotation):
                yield from _keys_of(model, f"{prefix}{key}.")


def _nearest(wanted: str, known: Sequence[str]) -> str:
    """The known key most like `wanted`: the same last name in any table, else the likest of the same table, where an
    abbreviation (lr of learning_rate) counts as like.
    """
    table, _, name = wanted.rpartition(".")

    def likeness(candidate: str) -> tuple[bool, bool, bool, float, bool]:
        other_table, _, other = candidate.rpartition(".")
        ratio = SequenceMatcher(None, name, other).ratio()
        is_near = other_table == table or ratio > 0.8
        return name == other, is_near, _abbreviates(other, name), ratio, other_table == table

    return max(known, key=likeness)


def _abbreviates(short: str, long: str) -> bool:
    letters = iter(long)
    return len(short) > 1 and all(letter in letters for letter in short)
