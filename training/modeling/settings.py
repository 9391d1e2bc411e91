"""What do the files beside the weights say about using them?

The formats are sentence-transformers' (`modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json`,
`config_sentence_transformers.json`) and transformers' (`tokenizer_config.json`). All are optional. What cannot be
kept is refused by name, as modules are (folder.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from app.bundle.manifest import Json, Pooling, PoolingMode
from training.errors import TrainingError
from training.modeling.folder import ModelFolder, read_folder, read_json

SANE_TOKENS = 1_000_000  # tokenizers without a limit say 1e30
POOLING_FLAGS: Mapping[str, PoolingMode] = {  # of folders before sentence-transformers 6, in the order they are joined
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
TRANSFORMER_FILES = (  # the names that sentence-transformers looks for, in its order
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What a source says of itself; None where it does not say."""

    folder: ModelFolder
    pooling: Pooling | None
    lowercase: bool  # texts are lowercased before the tokenizer
    max_tokens: int | None
    pad_token: str | None
    prompts: dict[str, str]


def read_settings(folder: Path, *, pooling: Pooling | None = None) -> SourceSettings:
    """The settings in `folder`; `pooling`, where given, stands instead of what the source says.

    Raises:
        TrainingError: a module or setting that is not built, or a file that is no JSON object.
    """
    modules = read_folder(folder)
    transformer = _transformer_settings(modules.transformer)
    tokenizer = read_json(modules.transformer / "tokenizer_config.json")
    prompts = _prompts(folder / "config_sentence_transformers.json")
    if pooling is None and modules.pooling is not None:
        pooling = _pooling(modules.pooling / "config.json", prompts)
    return SourceSettings(
        folder=modules,
        pooling=pooling,
        lowercase=transformer.get("do_lower_case") is True,
        max_tokens=_first_limit(transformer.get("max_seq_length"), tokenizer.get("model_max_length")),
        pad_token=_token(tokenizer.get("pad_token")),
        prompts=prompts,
    )


def _transformer_settings(folder: Path) -> Json:
    """What sentence-transformers keeps of its Transformer module.

    Raises:
        TrainingError: it does not end in the states of the last layer, or feeds the model otherwise than we do.
    """
    path = next((folder / name for name in TRANSFORMER_FILES if (folder / name).is_file()), None)
    if path is None:
        return {}
    settings = read_json(path)
    if (task := settings.get("transformer_task", "feature-extraction")) != "feature-extraction":
        raise TrainingError(
            f"encoder.source: {path} is for {task}; supported is feature-extraction, which gives states"
        )
    text = cast("Mapping[str, Mapping[str, object]]", settings.get("modality_config") or {}).get("text", {})
    if (output := text.get("method_output_name", "last_hidden_state")) != "last_hidden_state":
        raise TrainingError(f"encoder.source: {path} pools {output}; supported is last_hidden_state")
    for key in ("processing_kwargs", "query_expansion"):
        if settings.get(key):
            raise TrainingError(f"encoder.source: {path} sets {key}, which is not supported")
    return settings


def _prompts(path: Path) -> dict[str, str]:
    """Texts to put before a text, by name.

    Raises:
        TrainingError: one of them is put before every text, unasked; here a caller has to ask.
    """
    settings = read_json(path)
    prompts = {name: text for name, text in cast("dict[str, str]", settings.get("prompts") or {}).items() if text}
    default = settings.get("default_prompt_name")
    if default in prompts:
        raise TrainingError(
            f"encoder.source: {path} puts the prompt {default!r} before every text, which is not supported; set "
            "default_prompt_name to null there, and send texts with their prompt"
        )
    return prompts


def _pooling(path: Path, prompts: Mapping[str, str]) -> Pooling:
    """The pooling of `1_Pooling/config.json`, in the old spelling (flags) or the new one (`pooling_mode`)."""
    config = read_json(path)
    named = config.get("pooling_mode") or [mode for flag, mode in POOLING_FLAGS.items() if config.get(flag)] or "mean"
    modes = cast("list[PoolingMode]", named if isinstance(named, list) else [named])
    if unknown := [mode for mode in modes if mode not in get_args(PoolingMode)]:
        raise TrainingError(
            f"encoder.source: {path} pools by {' + '.join(map(str, unknown))}; supported are "
            f"{', '.join(get_args(PoolingMode))} (set encoder.pooling only if you accept other vectors)"
        )
    if config.get("include_prompt") is False and prompts:
        raise TrainingError(
            f"encoder.source: {path} leaves the prompt ({', '.join(prompts)}) out of the pooling, which is not "
            "supported; without prompts in config_sentence_transformers.json it makes no difference"
        )
    return modes[0] if len(modes) == 1 else modes


def _first_limit(*candidates: object) -> int | None:
    return next((value for value in candidates if isinstance(value, int) and 0 < value < SANE_TOKENS), None)


def _token(value: object) -> str | None:
    """A special token as transformers writes it: a string, or an object with `content`."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None
