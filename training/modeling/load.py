"""Which encoder does a recipe begin with? A pretrained one, or one with fresh weights and a tokenizer that learns."""

from collections.abc import Sequence

from training.errors import TrainingError
from training.modeling.encoder import LoadedEncoder
from training.modeling.encoder import load_encoder as load_pretrained
from training.modeling.scratch.encoder import make_encoder
from training.recipe.encoder import AnyEncoder, EncoderTable


def load_encoder(table: AnyEncoder, texts: Sequence[str] = (), *, seed: int = 0) -> LoadedEncoder:
    """The encoder of a recipe, in evaluation mode, float32, on the CPU.

    Args:
        table: what the recipe says of it.
        texts: those of train, which a tokenizer from scratch learns its pieces from; pretrained ones need none.
        seed: decides fresh weights.

    Raises:
        TrainingError: the source of a pretrained one is missing, is not what the recipe says, or needs what is not
            built; or a tokenizer shall be trained and there are no texts.
    """
    if isinstance(table, EncoderTable):
        return load_pretrained(table)
    if not texts:
        raise TrainingError(
            f'encoder.kind = "{table.kind}": its tokenizer learns from the texts of train, and there are none here'
        )
    return make_encoder(table, texts, seed=seed)
