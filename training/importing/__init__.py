"""How does a model that others have trained come in, without training?

By what its folder says it is: a classifier of transformers, a SetFit model, or an encoder. Nothing is unpickled and no
code of a source is run: weights are safetensors, everything else is JSON.
"""

from training.importing.huggingface import is_classifier, load_classifier
from training.importing.imported import Imported
from training.importing.pairs import refuse_pairs
from training.importing.setfit import is_setfit, load_setfit
from training.modeling import Model
from training.modeling.encoder import load_encoder
from training.modeling.source import find_source
from training.recipe.encoder import EncoderTable

__all__ = ["Imported", "read_source"]


def read_source(table: EncoderTable) -> Imported:
    """The model that `table.source` names, with its heads.

    Raises:
        TrainingError: the source is missing, or needs what is not built.
    """
    folder = find_source(table)
    refuse_pairs(folder)
    if is_setfit(folder):
        return load_setfit(folder, table)
    if is_classifier(folder):
        return load_classifier(folder, table)
    loaded = load_encoder(table)
    return Imported(Model(loaded.encoder, {}), loaded)
