"""How does an ONNX file that others have exported come in, with the tokenizer beside it?

The file is not trusted to be what it says: rewritten for the bundle (onnx_graph.py), it must pass the gate against
itself as it came (onnx_model.py). What a file cannot say – the limit of tokens, the padding, the pooling behind its
states, the labels – is read from the settings beside it, as sentence-transformers and transformers write them.
"""

from pathlib import Path

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, Json, Pooling
from training.errors import TrainingError
from training.importing.huggingface import FAMILIES
from training.importing.huggingface import SUFFIX as CLASSIFIER
from training.importing.imported import HEAD, Imported
from training.importing.labels import read_meaning
from training.importing.onnx_file import POOLER, OnnxFile, read_onnx, root_of
from training.importing.onnx_graph import adapt, ways
from training.importing.onnx_model import OnnxEncoder, OnnxModel
from training.importing.pairs import refuse_pairs
from training.modeling import LoadedEncoder, logits_name
from training.modeling.encoder import TOKENIZER, load_tokenizer
from training.modeling.folder import read_json
from training.modeling.settings import SourceSettings, read_settings
from training.recipe.encoder import EncoderTable

AFTER_PAD = ("roberta", "xlm-roberta", "camembert", "mpnet")  # their positions begin behind that of the padding


def load_foreign(path: Path, table: EncoderTable, vector: str | None) -> Imported:
    """The file in `path` with its tokenizer.

    Raises:
        TrainingError: it cannot be brought in, or what lies beside it does not say enough. BundleError: B06.
    """
    refuse_pairs(root_of(path))
    file = read_onnx(path, vector)
    if not (file.root / TOKENIZER).is_file():
        raise TrainingError(f"{file.root} has no {TOKENIZER}, without which {path.name} cannot read a text")
    config = read_json(file.root / "config.json")
    settings = read_settings(file.root, pooling=table.pooling)
    pooling = _pooling(file, settings, config)
    tokenizer = load_tokenizer(file.root, settings)
    vocabulary = max(tokenizer.get_vocab().values()) + 1
    encoder = OnnxEncoder(file, pooling, hidden=_hidden(config, file), vocabulary=vocabulary)
    loaded = LoadedEncoder(
        encoder=encoder.eval(),
        tokenizer=tokenizer,
        max_tokens=_limit(table, settings, config, file.root),
        pad_id=_pad_id(config, tokenizer.token_to_id(settings.pad_token) if settings.pad_token else None),
        pooling=pooling,
        normalize=settings.folder.normalize,
        prompts=settings.prompts,
        architecture=f"ONNX file, {file.vector or file.logits}",  # two outputs are two spaces
        source=table.source,
    )
    names = ({EMBEDDING_OUTPUT: file.vector} if file.vector else {}) | (
        {logits_name(HEAD): file.logits} if file.logits else {}
    )
    model = OnnxModel(encoder, {name: output for name, output in names.items() if name != EMBEDDING_OUTPUT})
    adapted = adapt(file, model.widths(), names, pooling)
    heads, notes = _heads(file, config, model.widths())
    return Imported(model.eval(), loaded, heads, notes, graphs=lambda: ways(adapted))


def _heads(file: OnnxFile, config: Json, widths: dict[str, int]) -> tuple[list[ClassifyHead], list[str]]:
    if file.logits is None:
        return [], []
    path = file.root / "config.json"
    if not config:
        raise TrainingError(f"{path} is not there, which says what the logits of {file.path.name} mean (id2label)")
    meaning = read_meaning(config, path)
    if len(meaning.labels) != widths[logits_name(HEAD)]:
        raise TrainingError(f"{path} names {len(meaning.labels)} labels; {file.path} gives {widths[logits_name(HEAD)]}")
    head = ClassifyHead(name=HEAD, output=logits_name(HEAD), problem_type=meaning.problem_type, labels=meaning.labels)
    return [head], list(meaning.notes)


def _pooling(file: OnnxFile, settings: SourceSettings, config: Json) -> Pooling:
    """How token states become the vector: what to append, or, for a file that pools, what to write down.

    Raises:
        TrainingError: nothing says so, or more follows it that the file does not hold.
    """
    if file.vector is not None and not file.is_pooled and settings.folder.after_pooling:
        after = ", ".join(module.kind for module in settings.folder.after_pooling)
        raise TrainingError(f"{file.root} has {after} behind the pooling, which is not in the file; import its weights")
    if settings.pooling is not None:
        return settings.pooling
    said = config.get("architectures")
    family = str(said[0]).removesuffix(CLASSIFIER) if isinstance(said, list) and said else ""
    if file.vector == POOLER or (file.vector is None and family in FAMILIES):
        return "mean" if config.get("classifier_pooling") == "mean" else "cls"
    what = "recorded" if file.is_pooled or file.vector is None else "appended"
    raise TrainingError(
        f"{file.path}: nothing beside it says how states of tokens become {file.vector or 'what its head reads'} (no "
        f"1_Pooling/config.json); say it with --pooling, which is {what}"
    )


def _hidden(config: Json, file: OnnxFile) -> int:
    """Values of a state: the config's, else the last axis of what the file gives."""
    for key in ("hidden_size", "dim"):
        if isinstance(size := config.get(key), int):
            return size
    for output in file.model.graph.output:
        if output.name == (file.vector or file.logits) and (size := output.type.tensor_type.shape.dim[-1].dim_value):
            return int(size)
    raise TrainingError(f"{file.root / 'config.json'} does not say hidden_size, and neither does {file.path}")


def _limit(table: EncoderTable, settings: SourceSettings, config: Json, root: Path) -> int:
    """The most tokens: what the tokenizer's settings say, and no more than there are positions."""
    positions = config.get("max_position_embeddings")
    pad = config.get("pad_token_id")
    if isinstance(positions, int) and config.get("model_type") in AFTER_PAD:
        positions -= (pad if isinstance(pad, int) else 1) + 1
    limits = [one for one in (table.max_tokens or settings.max_tokens, positions) if isinstance(one, int)]
    if not limits:
        raise TrainingError(
            f"{root} does not say how many tokens the model takes; write model_max_length into its "
            "tokenizer_config.json"
        )
    return min(limits)


def _pad_id(config: Json, found: int | None) -> int:
    said = config.get("pad_token_id")
    return said if isinstance(said, int) else found or 0
