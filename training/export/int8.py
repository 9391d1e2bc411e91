"""How does a bundle's graph become an int8 pair for CPUs?

Post-training quantisation by NNCF: static ranges from calibration texts, SmoothQuant on the way into each product
(Xiao et al., arXiv:2211.10438), weights by column. Static ranges are what keeps a text's answer apart from its batch
mates: ranges taken over each batch as it comes (ONNX Runtime's dynamic int8) move unit vectors by a cosine of 0.98
(docs/adr/0007-static-int8.md).

The result is an OpenVINO IR: a graph in XML and its weights beside it.
"""

import random
import tempfile
from collections.abc import Iterable, Sequence
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
from training.export.golden import hard_texts

CALIBRATION_TEXTS = 300
SEED = 1
# How much of an activation's range goes over to the weights. On all-MiniLM-L6-v2, over hard texts: 0.8 gives a worst
# cosine of 0.979, NNCF's own 0.95 gives 0.966.
SMOOTH_ALPHA = 0.8
JOINED = ((2, 4), (3, 3), (5, 2), (8, 1), (16, 1))  # sentences of a longer text, and how often


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


def quantize(graph: bytes, rows: Sequence[Sequence[int]], pad_id: int) -> ov.Model:
    """The fp32 graph with every product of weights and activations in int8, calibrated on `rows` of token ids."""
    nncf.set_log_level("ERROR")
    items = [_feeds(row, pad_id) for row in sorted(rows, key=len)]
    model: ov.Model = nncf.quantize(
        _read(graph),
        nncf.Dataset(items),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(items),
        advanced_parameters=AdvancedQuantizationParameters(
            smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=SMOOTH_ALPHA)
        ),
    )
    return model


def narrowing_products(model: ov.Model) -> list[str]:
    """The products whose weights make a row narrower, in order: the second of each feed-forward block, where
    activations have their outliers.
    """
    return [node.get_friendly_name() for node in model.get_ordered_ops() if _narrows(node)]


def with_float_inputs(model: ov.Model, names: Iterable[str]) -> ov.Model:
    """A copy in which the products of these names read their activations unquantised; they then run in float32."""
    copy, wanted = model.clone(), set(names)
    for node in copy.get_ordered_ops():
        source = node.input_value(0).get_node() if node.get_friendly_name() in wanted else None
        if source is not None and source.get_type_name() == "FakeQuantize":
            node.input(0).replace_source_output(source.input_value(0))
    return copy


def as_files(model: ov.Model) -> Pair:
    """The XML and the weights, as OpenVINO writes them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(model, str(path), compress_to_fp16=False)
        return Pair(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def _read(graph: bytes) -> ov.Model:
    model = ov.Core().read_model(graph).clone()
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    for number, node in enumerate(model.get_ordered_ops()):
        # Names that OpenVINO makes up change with every copy, and NNCF looks nodes up by name.
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{number}")
    return model


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


def _feeds(row: Sequence[int], pad_id: int) -> dict[str, np.ndarray]:
    ids_1T, mask_1T = pad([list(row)], pad_id)
    return {"input_ids": ids_1T.numpy(), "attention_mask": mask_1T.numpy()}


@cache
def _sentences() -> list[str]:
    text = resources.files("training.data").joinpath("neutral_texts.txt").read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line]
