"""How does a model that others have trained come in, without training?

By what its folder says it is: a classifier of transformers, a SetFit model, an encoder, or an ONNX
file with its tokenizer. Nothing is unpickled and no
code of a source is run: weights are safetensors, everything else is JSON.
"""

from training.errors import TrainingError
from training.importing.foreign import load_foreign
from training.importing.huggingface import is_classifier, load_classifier
from training.importing.imported import Imported
from training.importing.onnx_file import find_onnx
from training.importing.pairs import refuse_pairs
from training.importing.setfit import is_setfit, load_setfit
from training.modeling import Model
from training.modeling.encoder import load_encoder
from training.modeling.source import check_folder, find_folder
from training.recipe.encoder import EncoderTable

__all__ = ["Imported", "read_source"]


def read_source(table: EncoderTable, vector: str | None = None) -> Imported:
    """The model that `table.source` names, with its heads.

    Args:
        table: the source, and what is said of it.
        vector: the output of an ONNX file to take for the vector.

    Raises:
        TrainingError: the source is missing, or needs what is not built.
    """
    if (onnx := find_onnx(table.source)) is not None:
        return load_foreign(onnx, table, vector)
    if vector is not None:
        raise TrainingError(f"--vector names an output of an ONNX file; {table.source} is not imported from one")
    folder = find_folder(table)
    refuse_pairs(folder)
    check_folder(folder, table)
    if is_setfit(folder):
        return load_setfit(folder, table)
    if is_classifier(folder):
        return load_classifier(folder, table)
    loaded = load_encoder(table)
    return Imported(Model(loaded.encoder, {}), loaded)
