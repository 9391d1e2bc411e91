"""How does a pretrained encoder become a module that takes ids and a mask and gives one vector a text?

Any encoder of transformers that gives states of tokens – BERT, RoBERTa, XLM-R, DistilBERT, MPNet, DeBERTa, ModernBERT
and their kin – alone or in a folder of sentence-transformers. The tokenizer neither pads nor truncates: both are done
where they can be seen (training/data/collate.py). B rows of a batch, T padded tokens, D values of a vector.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer, normalizers
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from app.bundle.manifest import Pooling
from training.errors import TrainingError
from training.modeling.after_pooling import AfterPooling, load_modules
from training.modeling.base import TextEncoder
from training.modeling.pooling import pool
from training.modeling.settings import SourceSettings, read_settings
from training.modeling.source import find_source
from training.recipe.encoder import EncoderTable

TOKENIZER = "tokenizer.json"
WRITE_TOKENIZER = (
    "where sentencepiece is installed, `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` writes "
    + TOKENIZER
)


class Encoder(TextEncoder):
    """A transformers model that ends in the pooled, unnormalised vector.

    Args:
        trunk: the model under the pooling; its own pooler, if any, is taken out, since nothing reads it.
        pooling: how token states become one vector.
        after_pooling: what makes another vector of that one, in order.
    """

    def __init__(self, trunk: PreTrainedModel, pooling: Pooling, after_pooling: Sequence[AfterPooling] = ()) -> None:
        super().__init__()
        if getattr(trunk, "pooler", None) is not None:
            cast(Any, trunk).pooler = None
        self.trunk = trunk
        self.pooling: Pooling = pooling
        self.after_pooling = nn.Sequential(*after_pooling)
        self.hidden = int(trunk.config.hidden_size)
        self.width = after_pooling[-1].width if after_pooling else pooled_width(self.hidden, pooling)
        self.takes_types = getattr(trunk.config, "type_vocab_size", 0) > 0

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """The vector [B, D] of each row, float32. `mask_BT` is 1 for text, 0 for padding."""
        types = {"token_type_ids": torch.zeros_like(ids_BT)} if self.takes_types else {}
        states = self.trunk(input_ids=ids_BT, attention_mask=mask_BT, return_dict=True, **types)
        vector_BD: torch.Tensor = self.after_pooling(pool(states.last_hidden_state, mask_BT, self.pooling))
        return vector_BD

    @property
    def vocabulary(self) -> int:
        """How many ids it knows."""
        return int(self.trunk.get_input_embeddings().num_embeddings)

    @contextmanager
    def exporting(self) -> Iterator[int | None]:
        """Attention is written out (`eager`) while this lasts; gives the number of its heads."""
        attention = self.trunk.config._attn_implementation
        self.trunk.set_attn_implementation("eager")
        try:
            yield getattr(self.trunk.config, "num_attention_heads", 0)
        finally:
            self.trunk.set_attn_implementation(attention)


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """An encoder with all that is needed to feed it. `architecture` is transformers' class name, or what a fresh one is
    like.
    """

    encoder: TextEncoder
    tokenizer: Tokenizer
    max_tokens: int
    pad_id: int
    pooling: Pooling
    normalize: bool
    prompts: dict[str, str]
    architecture: str
    source: str


def pooled_width(hidden: int, pooling: Pooling) -> int:
    """How many values the pooling gives: several modes are joined."""
    return hidden * (1 if isinstance(pooling, str) else len(pooling))


def load_encoder(table: EncoderTable) -> LoadedEncoder:
    """The encoder a recipe names, in evaluation mode, float32, on the CPU.

    Raises:
        TrainingError: the source is missing, is not what the recipe says, or needs what is not built.
    """
    settings = read_settings(find_source(table), pooling=table.pooling)
    trunk = load_weights(settings.folder.transformer)
    return encoder_of(trunk, settings, table)


def encoder_of(trunk: PreTrainedModel, settings: SourceSettings, table: EncoderTable) -> LoadedEncoder:
    """`trunk` with what else its folder holds, in evaluation mode.

    Raises:
        TrainingError: they do not belong together, or need what is not built.
    """
    folder = settings.folder.transformer
    tokenizer = load_tokenizer(folder, settings)
    _check_vocabulary(tokenizer, trunk, folder)
    pooling = settings.pooling or "mean"
    after = load_modules(settings.folder.after_pooling, pooled_width(int(trunk.config.hidden_size), pooling))
    return LoadedEncoder(
        encoder=Encoder(trunk, pooling, after).eval(),
        tokenizer=tokenizer,
        max_tokens=_max_tokens(table.max_tokens, settings.max_tokens, _positions(trunk)),
        pad_id=_pad_id(trunk, tokenizer, settings),
        pooling=pooling,
        normalize=settings.folder.normalize,
        prompts=settings.prompts,
        architecture=type(trunk).__name__,
        source=table.source,
    )


def load_weights(
    folder: Path, kind: type[AutoModel | AutoModelForSequenceClassification] = AutoModel
) -> PreTrainedModel:
    """The model in `folder`, float32, its attention torch's fused one (`sdpa`) where the architecture has that, else
    written out (`eager`).

    Raises:
        TrainingError: it does not load, is no plain encoder, or lacks weights.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        trunk, report = kind.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise TrainingError(f"encoder.source: {folder} does not load: {str(error).splitlines()[0]}") from error
    if trunk.config.is_encoder_decoder or not hasattr(trunk.config, "hidden_size"):
        raise TrainingError(f"encoder.source: {type(trunk).__name__} is not a plain text encoder (BERT's family is)")
    unread = "pooler." if kind is AutoModel else ()  # the encoder's own pooler, which nothing reads here
    if missing := sorted(name for name in report["missing_keys"] if not name.startswith(unread)):
        raise TrainingError(
            f"encoder.source: {folder} lacks {len(missing)} weights of {type(trunk).__name__}, such as {missing[0]}; "
            "they would be random"
        )
    return cast(PreTrainedModel, trunk)


def load_tokenizer(folder: Path, settings: SourceSettings) -> Tokenizer:
    """The fast tokenizer, with padding and truncation taken out."""
    path = folder / TOKENIZER
    try:
        if path.is_file():
            tokenizer = Tokenizer.from_file(str(path))
        else:
            fast = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, local_files_only=True)
            names = sorted(fast.vocab_files_names.values())
            if not any((folder / name).is_file() for name in names):  # it would know special tokens and nothing else
                raise FileNotFoundError(f"there is none of {', '.join(names)}")
            tokenizer = Tokenizer.from_str(fast.backend_tokenizer.to_str())
    except Exception as error:  # tokenizers raises plain Exception; the conversion raises whatever its parts raise
        way_out = "" if path.is_file() else f"; {WRITE_TOKENIZER}"
        raise TrainingError(
            f"encoder.source: the tokenizer in {folder} does not load as a fast tokenizer: "
            f"{str(error).strip().splitlines()[0]}{way_out}"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if settings.lowercase:
        parts = [normalizers.Lowercase(), *([tokenizer.normalizer] if tokenizer.normalizer else [])]
        tokenizer.normalizer = normalizers.Sequence(parts)
    return tokenizer


def _check_vocabulary(tokenizer: Tokenizer, trunk: PreTrainedModel, folder: Path) -> None:
    """Every id the tokenizer can give has a row in the model's table."""
    highest, rows = max(tokenizer.get_vocab().values()), trunk.get_input_embeddings().num_embeddings
    if highest >= rows:
        raise TrainingError(
            f"encoder.source: the tokenizer in {folder} gives ids up to {highest}, the model knows {rows}: "
            "they do not belong together"
        )


def _positions(trunk: PreTrainedModel) -> int | None:
    """How many tokens the model has positions for; None where it says nothing.

    RoBERTa and its kin count positions from padding_idx + 1 on, so the first rows of their table are never used.
    """
    for name, module in trunk.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - unused
    return getattr(trunk.config, "max_position_embeddings", None)


def _max_tokens(asked: int | None, said: int | None, positions: int | None) -> int:
    """The recipe's limit, else the source's, else the positions; never more than the positions.

    Raises:
        TrainingError: the recipe asks for more than there is, or nobody says.
    """
    if asked is not None and positions is not None and asked > positions:
        raise TrainingError(f"encoder.max_tokens: {asked} is more than the {positions} tokens the encoder can take")
    limit = asked or said or positions
    if limit is None:
        raise TrainingError("encoder.max_tokens: the encoder does not say how many tokens it takes; set it")
    return limit if positions is None else min(limit, positions)


def _pad_id(trunk: PreTrainedModel, tokenizer: Tokenizer, settings: SourceSettings) -> int:
    """The id of padding: the model's, else the tokenizer's, else 0 (the mask hides it anyway)."""
    if trunk.config.pad_token_id is not None:
        return int(trunk.config.pad_token_id)
    found = tokenizer.token_to_id(settings.pad_token) if settings.pad_token is not None else None
    return 0 if found is None else found
