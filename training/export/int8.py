"""How does a bundle's graph become an int8 pair for CPUs?

Post-training quantisation by NNCF: static ranges from calibration texts, SmoothQuant on the way into each product
(Xiao et al., arXiv:2211.10438), weights by column. Static ranges are what keeps a text's answer apart from its batch
mates: ranges taken over each batch as it comes (ONNX Runtime's dynamic int8) move unit vectors by a cosine of 0.98
(docs/adr/0007-static-int8.md).

The result is an OpenVINO IR: a graph in XML and its weights beside it.
"""

import io
import logging
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters
from openvino.passes import ConstantFolding, Manager

from training.data.collate import pad
from training.errors import GateError, TrainingError
from training.export.golden import hard_texts

CALIBRATION_TEXTS = 300
PASSES = 2  # over the calibration rows: for SmoothQuant, and for the ranges
SEED = 1
# How much of an activation's range goes over to the weights. On all-MiniLM-L6-v2, over hard texts: 0.8 gives a worst
# cosine of 0.979, NNCF's own 0.95 gives 0.966.
SMOOTH_ALPHA = 0.8
OUTLIER_ROWS = 40
RECURRENT = {
    "LSTMSequence",
    "GRUSequence",
    "RNNSequence",
}  # the plugin's rnn.cpp wants constants, not what NNCF puts there
JOINED = ((2, 4), (3, 3), (5, 2), (8, 1), (16, 1))  # sentences of a longer text, and how often


Feeds = dict[str, np.ndarray]


class Int8Error(TrainingError):
    """NNCF or OpenVINO does not take this graph; the message is theirs."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An IR as its two files."""

    model: bytes
    weights: bytes


def calibration_texts(training_texts: Sequence[str], max_tokens: int) -> list[str]:
    """What ranges are taken from: the hard texts, a spread of the training texts, and neutral ones up to 300."""
    hard = hard_texts(max_tokens)
    step = max(1, len(training_texts) // (CALIBRATION_TEXTS // 2))
    own = list(training_texts[::step][: CALIBRATION_TEXTS // 2])
    return hard + own + neutral_texts(0, CALIBRATION_TEXTS - len(hard) - len(own))


def neutral_texts(half: int, count: int) -> list[str]:
    """`count` everyday texts of mixed length, from one half of the sentences: one calibrates, the other judges."""
    sentences = _sentences()[half::2]
    rng, texts = random.Random(SEED + half), list(sentences)
    lengths, weights = zip(*JOINED, strict=True)
    while len(texts) < count:
        (length,) = rng.choices(lengths, weights)
        texts.append(" ".join(rng.sample(sentences, length)))
    return texts[:count]


class Quantizer:
    """One fp32 graph and the rows of token ids that calibrate it."""

    def __init__(self, graph: bytes, rows: Sequence[Sequence[int]], pad_id: int) -> None:
        self._graph = graph
        self._feeds = [_feeds(row, pad_id) for row in sorted(rows, key=len)]

    @property
    def runs(self) -> int:
        """How many rows `quantize` runs, for a bar."""
        return PASSES * len(self._feeds)

    def quantize(self, left_out: Sequence[str] = (), *, on_run: Callable[[], object] = lambda: None) -> Pair:
        """Every product of weights and activations in int8, but for those of these names. The same bytes each time."""
        logging.getLogger("nncf").setLevel(logging.ERROR)  # its own set_log_level silences every other logger as well

        def next_row(feeds: Feeds) -> Feeds:
            on_run()
            return feeds

        with openvino_errors(), redirect_stdout(io.StringIO()):  # bars of its own, where results go
            model: ov.Model = nncf.quantize(
                _read(self._graph),
                nncf.Dataset(self._feeds, next_row),
                preset=nncf.QuantizationPreset.MIXED,
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(self._feeds),
                ignored_scope=nncf.IgnoredScope(names=list(left_out)) if left_out else None,
                advanced_parameters=AdvancedQuantizationParameters(
                    smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=SMOOTH_ALPHA),
                    disable_bias_correction=True,  # six seconds that change the fifth digit
                ),
            )
        return as_files(model)

    def hardest_products(self) -> list[str]:
        """The products that int8 suits least, worst first: those whose activations have the largest outliers.

        Only those that make a row narrower are looked at, the second of each feed-forward block: what GELU lets through
        has outliers that no scaling between activations and weights takes away.
        """
        with openvino_errors():
            return self._hardest_products()

    def _hardest_products(self) -> list[str]:
        model = _read(self._graph)
        products = [node for node in model.get_ordered_ops() if _narrows(node)]
        for node in products:
            model.add_outputs(node.input_value(0))
        compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        first = len(compiled.outputs) - len(products)
        largest, squares = np.zeros(len(products)), np.zeros(len(products))
        for feeds in self._feeds[:: max(1, len(self._feeds) // OUTLIER_ROWS)]:
            found = compiled(feeds)
            for place in range(len(products)):
                values = found[compiled.output(first + place)]
                largest[place] = max(largest[place], np.abs(values).max())
                squares[place] += float(np.square(values).sum()) / values.shape[-1]
        return [products[place].get_friendly_name() for place in np.argsort(-largest / np.sqrt(squares))]


@contextmanager
def openvino_errors() -> Iterator[None]:
    """What OpenVINO and NNCF raise inside becomes Int8Error: it says that the graph is not for them.

    OpenVINO raises RuntimeError; NNCF has a dozen classes with no base but Exception, and raises what its parts raise.
    """
    try:
        yield
    except TrainingError:
        raise
    except Exception as error:
        raise Int8Error(f"OpenVINO does not take the graph: {_reason(error)}") from error


def as_files(model: ov.Model) -> Pair:
    """The XML and the weights, as OpenVINO writes them."""
    _name_by_place(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(model, str(path), compress_to_fp16=False)
        return Pair(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def _read(graph: bytes) -> ov.Model:
    # A copy: models that OpenVINO read from ONNX share constants, and NNCF stumbles over another model's nodes.
    model = ov.Core().read_model(graph).clone()
    if recurrent := sorted({node.get_type_name() for node in model.get_ops()} & RECURRENT):
        raise GateError("G11-int8", f"OpenVINO takes the weights of {', '.join(recurrent)} in float32 alone")
    folding = Manager()
    # The fused attention's weights come as a concatenation, which SmoothQuant does not take for weights: without
    # folding, the mean cosine of all-MiniLM-L6-v2 over short questions falls from 0.9957 to 0.9942.
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    _name_by_place(model)
    return model


def _name_by_place(model: ov.Model) -> None:
    """Names that OpenVINO makes up change with every copy; NNCF looks nodes up by name, and the file holds them."""
    for number, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{number}")


def _reason(error: Exception) -> str:
    """The line that tells: OpenVINO's begin with places in its code and with headings, and `--` marks a finding."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    plain = [line for line in lines if not line.startswith(("Exception from ", "Check '")) and not line.endswith(":")]
    findings = [line.removeprefix("-- ") for line in plain if line.startswith("-- ")]
    return next(iter([*findings, *plain, *lines]), type(error).__name__)


def _narrows(node: ov.Node) -> bool:
    if node.get_type_name() != "MatMul":
        return False
    shape = node.input_value(1).get_partial_shape()
    if shape.is_dynamic or len(shape) != 2:
        return False
    wide, narrow = (axis.get_length() for axis in shape)
    if node.get_attributes()["transpose_b"]:
        wide, narrow = narrow, wide
    return bool(wide > narrow and node.input_value(0).get_partial_shape().rank.get_length() == 3)


def _feeds(row: Sequence[int], pad_id: int) -> Feeds:
    ids_1T, mask_1T = pad([list(row)], pad_id)
    return {"input_ids": ids_1T.numpy(), "attention_mask": mask_1T.numpy()}


@cache
def _sentences() -> list[str]:
    text = resources.files("training.data").joinpath("neutral_texts.txt").read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line]
