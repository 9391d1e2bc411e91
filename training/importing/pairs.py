"""Does a source read two texts at once? Then it is refused by name: a bundle's heads read one."""

from pathlib import Path

from training.errors import TrainingError
from training.modeling.folder import read_json

OLD_MARK = "sbert_ce_default_activation_function"  # in config.json, before sentence-transformers 4


def refuse_pairs(folder: Path) -> None:
    """Return if the model reads single texts.

    Raises:
        TrainingError: it is a CrossEncoder of sentence-transformers.
    """
    config = read_json(folder / "config.json")
    said = config.get("sentence_transformers")
    is_cross_encoder = (
        read_json(folder / "config_sentence_transformers.json").get("model_type") == "CrossEncoder"
        or OLD_MARK in config
        or (isinstance(said, dict) and "activation_fn" in said)
    )
    if is_cross_encoder:
        raise TrainingError(
            f"{folder} is a CrossEncoder of sentence-transformers, which reads pairs of texts; heads that read "
            "pairs are not supported, only models of single texts are imported"
        )
