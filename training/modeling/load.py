"""Which encoder does a recipe begin with? A pretrained one, or one with fresh weights and a tokenizer that learns."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from app.bundle.vectors import Floats, VectorInput
from training.data.collate import Input
from training.data.lengths import Ruler, token_ruler, vector_ruler
from training.errors import TrainingError
from training.modeling.encoder import LoadedEncoder
from training.modeling.encoder import load_encoder as load_pretrained
from training.modeling.scratch.encoder import make_encoder, make_vector_encoder
from training.recipe.encoder import AnyEncoder, EncoderTable, MlpTable


def ruler_of(loaded: LoadedEncoder) -> Ruler:
    """What measures rows as the encoder reads them."""
    if isinstance(loaded.reader, VectorInput):
        return vector_ruler(loaded.max_tokens)
    return token_ruler(loaded.reader, loaded.max_tokens)


def load_encoder(table: AnyEncoder, inputs: Sequence[Input] = (), *, seed: int = 0) -> LoadedEncoder:
    """The encoder of a recipe, in evaluation mode, float32, on the CPU.

    Args:
        table: what the recipe says of it.
        inputs: those of train, which a tokenizer from scratch learns its pieces from, and numbers are standardised by;
            pretrained ones need none.
        seed: decides fresh weights.

    Raises:
        TrainingError: the source of a pretrained one is missing, is not what the recipe says, or needs what is not
            built; or a tokenizer shall be trained and there are no texts.
    """
    if isinstance(table, EncoderTable):
        return load_pretrained(table)
    if not inputs:
        learns = (
            "its mean comes from the rows" if isinstance(table, MlpTable) else "its tokenizer learns from the texts"
        )
        raise TrainingError(f'encoder.kind = "{table.kind}": {learns} of train, and there are none here')
    if isinstance(inputs[0], np.ndarray):
        return make_vector_encoder(table, cast("Sequence[Floats]", inputs), seed=seed)
    if isinstance(table, MlpTable):
        raise TrainingError('encoder.kind = "mlp" reads numbers, and the rows are texts')
    return make_encoder(table, cast("Sequence[str]", inputs), seed=seed)
