"""How does an encoder with fresh weights come to be, tokenizer included?

Seed, rows of train and recipe decide everything: the same three give the same weights and the same tokenizer. B rows of
a batch, T padded tokens, D values of a state.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from app.bundle.manifest import Pooling
from app.bundle.vectors import Floats, VectorInput
from training.data.collate import Reader
from training.data.vectors import statistics
from training.errors import TrainingError
from training.modeling.base import TextEncoder
from training.modeling.encoder import LoadedEncoder, pooled_width
from training.modeling.pooling import pool
from training.modeling.scratch.mlp import MlpEncoder, MlpTrunk
from training.modeling.scratch.recurrent import RecurrentTrunk
from training.modeling.scratch.transformer import TransformerTrunk
from training.recipe.encoder import MlpTable, RecurrentEncoder, TransformerEncoder
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

    def __init__(
        self, trunk: RecurrentTrunk | TransformerTrunk, pooling: Pooling, vectors: VectorInput | None = None
    ) -> None:
        super().__init__()
        self.vectors = vectors
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
        """How many ids it knows: none, where it reads numbers."""
        table = self.trunk.embedding
        return table.num_embeddings if isinstance(table, nn.Embedding) else 0

    def exporting(self) -> AbstractContextManager[int | None]:
        """Nothing is to be changed, and nothing is for the optimizer for BERT."""
        return nullcontext()


def make_encoder(table: RecurrentEncoder | TransformerEncoder, texts: Sequence[str], *, seed: int) -> LoadedEncoder:
    """The encoder with the weights that `seed` draws, in evaluation mode, and the tokenizer that `texts` give."""
    tokenizer = train_tokenizer(table.tokenizer, texts)
    seed_all(seed)
    trunk = _trunk(table, tokenizer.get_vocab_size())
    return _loaded(ScratchEncoder(trunk, table.pooling), tokenizer, table.max_tokens)


def make_vector_encoder(
    table: RecurrentEncoder | TransformerEncoder | MlpTable, rows: Sequence[Floats], *, seed: int
) -> LoadedEncoder:
    """The encoder of numbers with the weights that `seed` draws, in evaluation mode, standardising as `rows` are.

    Raises:
        TrainingError: the rows are single vectors and the encoder reads sequences, or the other way round.
    """
    like = statistics(rows)
    if like.is_sequence == isinstance(table, MlpTable):
        found = "sequences of vectors" if like.is_sequence else "single vectors"
        reads = "one vector a row; take rnn, lstm, gru or transformer" if like.is_sequence else "sequences; take mlp"
        raise TrainingError(f'encoder.kind = "{table.kind}" and rows that are {found} disagree: it reads {reads}')
    seed_all(seed)
    if isinstance(table, MlpTable):
        return _loaded(MlpEncoder(MlpTrunk(table.widths, table.dropout, like), like), like, 1)
    return _loaded(ScratchEncoder(_trunk(table, like), table.pooling, like), like, table.max_tokens)


def _loaded(encoder: ScratchEncoder | MlpEncoder, reader: Reader, max_tokens: int) -> LoadedEncoder:
    return LoadedEncoder(
        encoder=encoder.eval(),
        reader=reader,
        max_tokens=max_tokens,
        pad_id=PAD_ID,
        pooling=encoder.pooling,
        normalize=True,
        prompts={},
        architecture=encoder.trunk.architecture,
        source=SOURCE,
    )


def _trunk(
    table: RecurrentEncoder | TransformerEncoder, vocabulary: int | VectorInput
) -> RecurrentTrunk | TransformerTrunk:
    if isinstance(table, RecurrentEncoder):
        return RecurrentTrunk(table, vocabulary)
    return TransformerTrunk(table, vocabulary)
