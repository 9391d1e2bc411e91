"""What do the files beside the weights say about using them?

The formats are sentence-transformers' (`modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json`,
`config_sentence_transformers.json`) and transformers' (`tokenizer_config.json`). All are optional. What cannot be
kept is refused by name: a module that is dropped silently gives other vectors.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from app.bundle.manifest import Json, Pooling
from training.errors import TrainingError

KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
SANE_TOKENS = 1_000_000  # tokenizers without a limit say 1e30
POOLINGS: dict[str, Pooling] = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
    "max": "max",
    "max_tokens": "max",
}


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What a source says of itself; None where it does not say."""

    pooling: Pooling | None
    normalize: bool
    lowercase: bool  # texts are lowercased before the tokenizer
    max_tokens: int | None
    pad_token: str | None
    prompts: dict[str, str]


def read_settings(folder: Path, *, pooling: Pooling | None = None) -> SourceSettings:
    """The settings in `folder`; `pooling`, where given, stands instead of what the source says.

    Raises:
        TrainingError: a module or pooling that is not built, or a file that is no JSON object.
    """
    kinds = _module_kinds(folder)
    transformer = read_json(folder / "sentence_bert_config.json")
    tokenizer = read_json(folder / "tokenizer_config.json")
    prompts = cast("dict[str, str]", read_json(folder / "config_sentence_transformers.json").get("prompts") or {})
    if pooling is None and "Pooling" in kinds:
        pooling = _pooling(folder / kinds["Pooling"] / "config.json")
    return SourceSettings(
        pooling=pooling,
        normalize="Normalize" in kinds,
        lowercase=transformer.get("do_lower_case") is True,
        max_tokens=_first_limit(transformer.get("max_seq_length"), tokenizer.get("model_max_length")),
        pad_token=_token(tokenizer.get("pad_token")),
        prompts={name: text for name, text in prompts.items() if text},
    )


def read_json(path: Path) -> Json:
    """The object in `path`, empty when there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"encoder.source: {path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise TrainingError(f"encoder.source: {path} is not a JSON object")
    return value


def _module_kinds(folder: Path) -> dict[str, str]:
    """Module class → its sub-folder, for every module in `modules.json`."""
    path = folder / "modules.json"
    if not path.is_file():
        return {}
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        kinds = {str(module["type"]).rsplit(".", 1)[-1]: str(module["path"]) for module in modules}
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"encoder.source: {path} cannot be read: {error!r}") from error
    if unknown := [kind for kind in kinds if kind not in KNOWN_MODULES]:
        raise TrainingError(
            f"encoder.source: {path} has the modules {', '.join(unknown)}, which cannot be exported; "
            f"supported are {', '.join(KNOWN_MODULES)}"
        )
    return kinds


def _pooling(path: Path) -> Pooling:
    """The one pooling of `1_Pooling/config.json`, in the old spelling (flags) or the new one (`pooling_mode`)."""
    config = read_json(path)
    named = config.get("pooling_mode")
    modes = [str(mode) for mode in named] if isinstance(named, list) else [str(named)] if named else []
    modes += [key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on]
    if config.get("include_prompt") is False:
        raise TrainingError(f"encoder.source: {path} leaves the prompt out of the pooling, which is not supported")
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise TrainingError(
            f"encoder.source: {path} pools by {' + '.join(modes) or 'nothing'}; supported is one of mean, cls, max "
            "(set encoder.pooling only if you accept other vectors)"
        )
    return POOLINGS[modes[0]]


def _first_limit(*candidates: object) -> int | None:
    return next((value for value in candidates if isinstance(value, int) and 0 < value < SANE_TOKENS), None)


def _token(value: object) -> str | None:
    """A special token as transformers writes it: a string, or an object with `content`."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None
