"""Which ONNX file is a source, what does it give, and is it one that can be brought in?

Read without running it: one float32 file of known operators, with its tensors inside, that takes ids and a mask in
batches of any size. Everything else is refused by name, with the way out.
"""

from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, ValueInfoProto

from app.bundle.graph import parse_graph
from training.errors import TrainingError
from training.modeling.source import WEIGHTS, WEIGHTS_INDEX

SUFFIX = ".onnx"
PLACES = ("model.onnx", "onnx/model.onnx")  # optimum's, and sentence-transformers' beside its weights
MOST_BYTES = 2**31 - 1  # protobuf's
OLDEST_OPSET = 11
INTEGERS = {TensorProto.INT64: "int64", TensorProto.INT32: "int32"}
IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
LOGITS, VECTOR, POOLER = "logits", "sentence_embedding", "pooler_output"
STATES = ("last_hidden_state", "token_embeddings")  # of each token
QUANTIZED = ("Quantize", "QLinear", "QAttention", "QGemm", "Integer", "QEmbed", "NBits", "FusedMatMulInteger")
HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2)


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file that can be brought in. `root` has the tokenizer and the settings.

    `logits` and `vector` name the outputs that are used; `is_pooled` says that the vector is one a text already.
    """

    path: Path
    root: Path
    data: bytes
    model: ModelProto
    logits: str | None
    vector: str | None
    is_pooled: bool


def find_onnx(source: str) -> Path | None:
    """The ONNX file that `source` means: itself, or that of a folder without weights."""
    path = Path(source).expanduser()
    if path.suffix == SUFFIX and path.is_file():
        return path
    if not path.is_dir():
        return None
    if any(next(path.glob(f"{place}{name}"), None) for place in ("", "0_*/") for name in (WEIGHTS, WEIGHTS_INDEX)):
        return None  # in a folder of sentence-transformers they may lie in that of its first module
    return next((path / place for place in PLACES if (path / place).is_file()), None)


def root_of(path: Path) -> Path:
    """Where the tokenizer and the settings of the file in `path` lie."""
    folder = path.resolve().parent
    return folder.parent if folder.name == "onnx" else folder


def read_onnx(path: Path, vector: str | None) -> OnnxFile:
    """The file in `path`; `vector` names the output to take for the vector.

    Raises:
        TrainingError: it cannot be brought in. BundleError: B06, unknown operators.
    """
    data = _read(path)
    model = parse_graph(data, str(path))
    _check_numbers(model, path)
    for one in model.graph.input:
        _check_input(one, path)
    names = [one.name for one in model.graph.input]
    if missing := [name for name in (IDS, MASK) if name not in names]:
        raise TrainingError(f"{path} takes {', '.join(names)}, not {' and '.join(missing)}; export it with them")
    if unknown := [name for name in names if name not in (IDS, MASK, TYPES)]:
        raise TrainingError(f"{path} also takes {', '.join(unknown)}; supported are {IDS}, {MASK} and {TYPES}")
    ranks = {one.name: len(one.type.tensor_type.shape.dim) for one in model.graph.output}
    logits = LOGITS if ranks.get(LOGITS) == 2 and vector != LOGITS else None
    name = _vector(ranks, vector, path, is_classifier=logits is not None)
    return OnnxFile(path, root_of(path), data, model, logits, name, is_pooled=name is not None and ranks[name] == 2)


def _read(path: Path) -> bytes:
    """The bytes of a file that has its tensors inside."""
    if path.stat().st_size > MOST_BYTES:
        raise TrainingError(f"{path} is over 2 GB, the most that one ONNX file of a bundle holds")
    data = path.read_bytes()
    try:
        tensors = onnx.load_model_from_string(data).graph.initializer
    except DecodeError as error:
        raise TrainingError(f"{path} is not an ONNX file") from error
    outside = [tensor for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL]
    if outside:
        files = sorted({entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"})
        raise TrainingError(
            f"{path} keeps {len(outside)} tensors in {', '.join(files)}; a bundle's graph is one file. Up to 2 GB, "
            f'`python -c "import onnx; onnx.save(onnx.load({str(path)!r}), {str(path.with_name("one.onnx"))!r})"` '
            "makes one; beyond that, import the model's weights"
        )
    return data


def _check_numbers(model: ModelProto, path: Path) -> None:
    """Float32 throughout, and operators of a set that is known."""
    version = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if not OLDEST_OPSET <= version <= onnx.defs.onnx_opset_version():
        raise TrainingError(
            f"{path} is of opset {version}; supported are {OLDEST_OPSET} to {onnx.defs.onnx_opset_version()}: export "
            "it once more"
        )
    quantized = sorted({node.op_type for node in model.graph.node if any(part in node.op_type for part in QUANTIZED)})
    halves = any(tensor.data_type in HALVES for tensor in model.graph.initializer)
    if quantized or halves:
        what = f"is quantised ({', '.join(quantized)})" if quantized else "is in half precision"
        raise TrainingError(f"{path} {what}; a bundle begins with float32 and makes the rest of it: name that file")


def _check_input(one: ValueInfoProto, path: Path) -> None:
    kind, axes = one.type.tensor_type.elem_type, one.type.tensor_type.shape.dim
    if kind not in INTEGERS:
        raise TrainingError(f"{path}: {one.name} takes no int64 or int32")
    if fixed := [str(axis.dim_value) for axis in axes if axis.dim_value]:
        raise TrainingError(
            f"{path}: {one.name} has an axis of {' and '.join(fixed)} for good; export it with dynamic axes"
        )


def _vector(ranks: dict[str, int], asked: str | None, path: Path, *, is_classifier: bool) -> str | None:
    """The output that is the vector, or the states that it is pooled from; None for a classifier without one.

    Raises:
        TrainingError: there is none, or `asked` is none.
    """
    if asked is not None:
        if ranks.get(asked) not in (2, 3):
            raise TrainingError(f"{path} has no output {asked} of vectors or states; it has {_list(ranks)}")
        return asked
    for name, rank in ((VECTOR, 2), *((states, 3) for states in STATES)):
        if ranks.get(name) == rank:
            return name
    if is_classifier:
        return None
    raise TrainingError(
        f"{path} gives {_list(ranks)}; taken by name are {LOGITS} [batch, labels], {VECTOR} and {' or '.join(STATES)}: "
        f"say with --vector which one is the vector ({POOLER} is a classifier's, and seldom a good one)"
    )


def _list(ranks: dict[str, int]) -> str:
    return ", ".join(f"{name} of {rank} axes" for name, rank in ranks.items())
