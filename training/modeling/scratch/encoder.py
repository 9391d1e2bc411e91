"""How does an encoder with fresh weights come to be, tokenizer included?

Seed, texts and recipe decide everything: the same three give the same weights and the same tokenizer. B rows of a
batch, T padded tokens, D values of a state.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from app.bundle.manifest import Pooling
from training.modeling.base import TextEncoder
from training.modeling.encoder import LoadedEncoder, pooled_width
from training.modeling.pooling import pool
from training.modeling.scratch.recurrent import RecurrentTrunk
from training.modeling.scratch.transformer import TransformerTrunk
from training.recipe.encoder import RecurrentEncoder, TransformerEncoder
from training.rng import seed_all
from training.vocabulary import PAD_ID, train_tokenizer

SOURCE = "scratch"  # what a manifest says the weights come from


class ScratchEncoder(TextEncoder):
    """A trunk of this package under a pooling.

    Args:
        trunk: ids and mask → states [B, T, D].
        pooling: how they become one vector.
    """

    trunk: RecurrentTrunk | TransformerTrunk

    def __init__(self, trunk: RecurrentTrunk | TransformerTrunk, pooling: Pooling) -> None:
        super().__init__()
        self.trunk = trunk
        self.pooling = pooling
        self.after_pooling = nn.Sequential()
        self.hidden = trunk.hidden
        self.width = pooled_width(self.hidden, pooling)

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """The vector [B, D] of each row, float32."""
        return pool(self.trunk(ids_BT, mask_BT), mask_BT, self.pooling)

    @property
    def vocabulary(self) -> int:
        """How many ids it knows."""
        return self.trunk.embedding.num_embeddings

    def exporting(self) -> AbstractContextManager[int | None]:
        """Nothing is to be changed, and nothing is for the optimizer for BERT."""
        return nullcontext()


def make_encoder(table: RecurrentEncoder | TransformerEncoder, texts: Sequence[str], *, seed: int) -> LoadedEncoder:
    """The encoder with the weights that `seed` draws, in evaluation mode, and the tokenizer that `texts` give."""
    tokenizer = train_tokenizer(table.tokenizer, texts)
    seed_all(seed)
    trunk = _trunk(table, tokenizer.get_vocab_size())
    return LoadedEncoder(
        encoder=ScratchEncoder(trunk, table.pooling).eval(),
        tokenizer=tokenizer,
        max_tokens=table.max_tokens,
        pad_id=PAD_ID,
        pooling=table.pooling,
        normalize=True,
        prompts={},
        architecture=trunk.architecture,
        source=SOURCE,
    )


def _trunk(table: RecurrentEncoder | TransformerEncoder, vocabulary: int) -> RecurrentTrunk | TransformerTrunk:
    if isinstance(table, RecurrentEncoder):
        return RecurrentTrunk(table, vocabulary)
    return TransformerTrunk(table, vocabulary)
