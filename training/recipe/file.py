"""How does a recipe file become a `Recipe`?

TOML → `--set` overrides → unknown keys refused with the nearest known one → `${VARIABLES}` in paths → strict types.
Every message reads `file: table.key: what is wrong`; all unknown keys, or all wrong values, are named at once.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from training.errors import RecipeError
from training.recipe.keys import UNIONS, unknown_keys
from training.recipe.run import Recipe
from training.recipe.sweep import Span, SweepTable, setting

DATA_PATHS = ("data.train", "data.dev", "data.test", "data.corpus")
PATHS = (*DATA_PATHS, "encoder.source", "teacher.source", "probes")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of `path`, with the values of `overrides` (`table.key=value`) in place.

    Args:
        path: a TOML file.
        overrides: the value is read as TOML; what is not TOML is a string (`encoder.source=package:x`).

    Raises:
        RecipeError: the file is not there or not TOML, a key is unknown, a value is wrong, a variable is not set.
    """
    raw = _read(path)
    for override in overrides:
        _merge(raw, _parse_override(override), f"--set {override}")
    problems = list(unknown_keys(raw))
    if not problems:
        raw, problems = _expand(raw)
    if problems:
        raise RecipeError("\n".join(f"{path.name}: {problem}" for problem in problems))
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError("\n".join(f"{path.name}: {_say(detail)}" for detail in error.errors())) from error


def load_sweep(path: Path, recipe: Path, overrides: Sequence[str] = ()) -> SweepTable:
    """What a sweep over `recipe` tries. Each end of a range and each choice makes a recipe that loads.

    Raises:
        RecipeError: the file is not there or not TOML, a value is wrong, or a recipe with one of the values is.
    """
    raw, known = _read(path), list(SweepTable.model_fields)
    for key in raw.keys() - known:
        nearest = get_close_matches(key, known, n=1, cutoff=0)[0]
        raise RecipeError(f"{path.name}: {key} is not a key; did you mean {nearest}?")
    try:
        table = SweepTable.model_validate(raw)
    except ValidationError as error:
        raise RecipeError("\n".join(f"{path.name}: {_say(detail)}" for detail in error.errors())) from error
    for key, span in table.values.items():
        for value in span.ends() if isinstance(span, Span) else span:
            try:
                load_recipe(recipe, [*overrides, setting(key, value)])
            except RecipeError as error:
                raise RecipeError(f"{path.name}: values.{key} = {value!r} does not fit: {error}") from error
    return table


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path.name}: is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path.name}: is not TOML: {error}") from error


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, value = override.partition("=")
    try:
        if not equals:
            raise RecipeError(f"--set {override}: write it as table.key=value")
        return tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        return _parse_bare(override, key, value.strip())


def _parse_bare(override: str, key: str, value: str) -> dict[str, Any]:
    """A value that is not TOML is a string; a key that is not TOML is refused."""
    try:
        table: dict[str, Any] = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f'--set {override}: "{key}" is not a key; write it as table.key=value') from error
    inner = table
    while isinstance(next(iter(inner.values())), dict):
        inner = next(iter(inner.values()))
    inner[next(iter(inner))] = value
    return table


def _merge(base: dict[str, Any], change: Mapping[str, Any], what: str) -> None:
    """Put the leaves of `change` into `base`, making the tables they need."""
    for key, value in change.items():
        if not isinstance(value, dict) or not value:  # {} empties a table
            base[key] = value
        elif isinstance(base.setdefault(key, {}), dict):
            _merge(base[key], value, what)
        else:
            raise RecipeError(f"{what}: {key} is a value, not a table")


def _expand(raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`raw` with the variables of its paths in place, and a problem for each that is not set."""
    problems = [problem for dotted in PATHS for problem in _expand_at(raw, dotted, "")]
    heads = raw.get("more_heads")
    for number, head in enumerate(heads if isinstance(heads, list) else []):
        problems += [problem for dotted in DATA_PATHS for problem in _expand_at(head, dotted, f"more_heads.{number}.")]
    return raw, problems


def _expand_at(table: Any, dotted: str, prefix: str) -> Iterator[str]:  # noqa: ANN401 - what a file holds
    """Put the variables of one path of `table`, if it is there, in place."""
    *tables, key = dotted.split(".")
    for name in tables:
        table = table.get(name) if isinstance(table, dict) else None
    if isinstance(table, dict) and isinstance(table.get(key), str):
        for name in _VARIABLE.findall(table[key]):
            if name not in os.environ:
                yield f"{prefix}{dotted}: the variable {name} is not set; set it: export {name}=FOLDER"
        table[key] = _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), table[key])


def _say(detail: ErrorDetails) -> str:
    """One line for a wrong value: `table.key: should be …, not …`."""
    place = [str(part) for part in detail["loc"]]
    table = 2 if place[:1] == ["more_heads"] else 0
    if len(place) > table + 1 and (place[table] == "data" if table else place[0] in UNIONS):
        del place[table + 1]  # pydantic puts the chosen type there
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    if not place:
        return message
    if detail["type"] == "missing":
        message = "is missing"
    elif detail["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "should be a table"
    value = detail["input"]  # of a missing key: the table it is missing from
    shown = f", not {value!r}" if isinstance(value, str | int | float) else ""
    return f"{'.'.join(place)}: {message}{shown}"
