"""The gate lets the right file pass and refuses each planted fault."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, numpy_helper

from app.bundle.batches import most_rows, slices
from app.bundle.errors import BundleError
from app.bundle.feeding import Feeder, Feeds, feeder
from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, EmbedHead
from app.types import Item
from tests.data.make_tiny import sentences
from training.data.collate import pad
from training.data.rows import Row
from training.errors import GateError
from training.evaluate import predict
from training.export.compare import LOGIT_LIMIT, VECTOR_LIMIT
from training.export.exam import Exam, make_exam
from training.export.onnx import export_graph, torchscript
from training.export.parity import Reference, Rows, Shipped, check_parity
from training.modeling import ClassifierHead, Encoder, Model

Head = ClassifyHead | EmbedHead
ROWS = [Row(text, f"sentences.jsonl:{number}", label=label) for number, (text, label) in enumerate(sentences())]


class MaskFirst(Model):
    """Takes its inputs in the other order."""

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> dict[str, torch.Tensor]:
        return super().forward(mask_BT, ids_BT)


class Normalising(Model):
    """Ends in unit vectors."""

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = super().forward(ids_BT, mask_BT)
        return outputs | {EMBEDDING_OUTPUT: torch.nn.functional.normalize(outputs[EMBEDDING_OUTPUT])}


class MaskAsTypes(Encoder):
    """Hands the mask to the trunk as token types."""

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        states = self.trunk(input_ids=ids_BT, attention_mask=mask_BT, token_type_ids=mask_BT)
        weights_BT1 = mask_BT.unsqueeze(-1).float()
        vector_BD: torch.Tensor = (states.last_hidden_state * weights_BT1).sum(1) / weights_BT1.sum(1)
        return vector_BD


class BlindToPadding(Encoder):
    """Attends to padding as if it were text."""

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        vector_BD: torch.Tensor = super().forward(ids_BT, torch.ones_like(mask_BT))
        return vector_BD + 0 * mask_BT.sum()


def _with(model: Model, **parts: Any) -> Model:  # noqa: ANN401  # modules of several kinds
    """A model of other parts with the same weights."""
    kind = parts.get("kind", Model)
    head = model.heads["logits_intent"]
    other: Model = kind(parts.get("encoder", model.encoder), {"intent": parts.get("head", head)})
    return other.eval()


WRONG_MODELS: dict[str, tuple[Callable[[Model], Model], set[str]]] = {
    "swapped inputs": (lambda model: _with(model, kind=MaskFirst), {"G01-shapes", "G04-vectors"}),
    "mask as token types": (
        lambda model: _with(model, encoder=MaskAsTypes(model.encoder.trunk, "mean")),
        {"G04-vectors"},
    ),
    "wrong pooling": (lambda model: _with(model, encoder=Encoder(model.encoder.trunk, "cls")), {"G04-vectors"}),
    "padding is read": (
        lambda model: _with(model, encoder=BlindToPadding(model.encoder.trunk, "mean")),
        {"G04-vectors"},
    ),
    "graph ends normalised": (lambda model: _with(model, kind=Normalising), {"G04-vectors"}),
}


@pytest.mark.parametrize(("spoil", "rules"), WRONG_MODELS.values(), ids=WRONG_MODELS.keys())
def test_graph_of_another_model_is_refused(
    spoil: Callable[[Model], Model], rules: set[str], reference: Reference, shipped: Shipped
) -> None:
    graph = export_graph(spoil(reference.model), torchscript, max_tokens=reference.max_tokens)

    with pytest.raises(GateError) as refusal:
        check_parity(reference, replace(shipped, graph=graph.data))

    assert refusal.value.rule in rules


def _frozen(model: ModelProto) -> None:
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[1].dim_value = 7


def _dropout(model: ModelProto) -> None:
    """Dropout in training mode between the vector and the head, as an exporter leaves it that was not told."""
    place, head = next((i, node) for i, node in enumerate(model.graph.node) if "logits_intent" in node.output)
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "ratio"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "is_training"))
    node = onnx.helper.make_node("Dropout", [head.input[0], "ratio", "is_training"], ["dropped"])
    head.input[0] = "dropped"
    model.graph.node.insert(place, node)


def _not_a_number(model: ModelProto) -> None:
    bias = next(one for one in model.graph.initializer if one.name == "heads.logits_intent.linear.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(4, np.nan, np.float32), bias.name))


def _big_tensor_twice(model: ModelProto) -> None:
    for name in ("first", "second"):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(2**18, np.float32), name))


def _missing_input(model: ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"


def _foreign(model: ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("Exec", ["input_ids"], ["unused"], domain="custom.ops"))


SPOILT_FILES: dict[str, tuple[Callable[[ModelProto], None], str]] = {
    "frozen length": (_frozen, "G01-shapes"),
    "broken wiring": (_missing_input, "G01-shapes"),
    "dropout left on": (_dropout, "G08-repeat"),
    "NaN weight": (_not_a_number, "G02-finite"),
    "big tensor twice": (_big_tensor_twice, "G09-duplicates"),
    "foreign operator": (_foreign, "B06-graph"),
}


@pytest.mark.parametrize(("spoil", "rule"), SPOILT_FILES.values(), ids=SPOILT_FILES.keys())
def test_spoilt_file_is_refused(
    spoil: Callable[[ModelProto], None], rule: str, reference: Reference, shipped: Shipped
) -> None:
    model = onnx.load_model_from_string(shipped.graph)
    spoil(model)

    with pytest.raises((GateError, BundleError)) as refusal:
        check_parity(reference, replace(shipped, graph=model.SerializeToString()))

    assert refusal.value.rule == rule  # type: ignore[attr-defined]  # both kinds have one


def test_a_model_whose_own_weights_are_not_finite_is_refused(reference: Reference, shipped: Shipped) -> None:
    """Graph and model agree; the answer is no number all the same."""
    head = ClassifierHead(reference.model.encoder.hidden, 4, 0.0)
    torch.nn.init.constant_(head.linear.bias, float("nan"))
    model = _with(reference.model, head=head)
    graph = export_graph(model, torchscript, max_tokens=reference.max_tokens)

    with pytest.raises(GateError, match="torch model is not finite") as refusal:
        check_parity(replace(reference, model=model), replace(shipped, graph=graph.data))

    assert refusal.value.rule == "G02-finite"


def _swap_words(tokenizer: dict[str, Any]) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["kitchen"], vocabulary["lights"] = vocabulary["lights"], vocabulary["kitchen"]


def _drop_special_tokens(tokenizer: dict[str, Any]) -> None:
    tokenizer["post_processor"] = None


TRUNCATION = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
PADDING = {
    "strategy": {"Fixed": 64},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "[PAD]",
}
WRONG_TOKENIZERS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "stale vocabulary": (_swap_words, "G03-tokenizer"),
    "no special tokens": (_drop_special_tokens, "G03-tokenizer"),
    "truncates by itself": (lambda tokenizer: tokenizer.update(truncation=TRUNCATION), "B08-tokenizer"),
    "pads by itself": (lambda tokenizer: tokenizer.update(padding=PADDING), "B08-tokenizer"),
}


@pytest.mark.parametrize(("spoil", "rule"), WRONG_TOKENIZERS.values(), ids=WRONG_TOKENIZERS.keys())
def test_another_tokenizer_is_refused(
    spoil: Callable[[dict[str, Any]], None], rule: str, reference: Reference, shipped: Shipped
) -> None:
    assert shipped.tokenizer is not None
    tokenizer = json.loads(shipped.tokenizer)
    spoil(tokenizer)

    with pytest.raises((GateError, BundleError)) as refusal:
        check_parity(reference, replace(shipped, tokenizer=json.dumps(tokenizer).encode()))

    assert refusal.value.rule == rule  # type: ignore[attr-defined]


def test_right_file_passes_with_its_figures(reference: Reference, shipped: Shipped, heads: list[Head]) -> None:
    exam = make_exam(heads[0], ROWS)
    assert exam is not None

    parity = check_parity(reference, shipped, [(exam, _torch_figure(exam, reference))])

    assert parity.labels_equal
    assert parity.logits_max_abs_diff is not None
    assert parity.logits_max_abs_diff <= LOGIT_LIMIT
    assert parity.vector_max_abs_diff is not None
    assert max(parity.vector_max_abs_diff, parity.alone_max_abs_diff) <= VECTOR_LIMIT
    assert parity.rows > 4 * (1 + 2 + 7 + 32)


def test_long_rows_come_in_batches_that_fit_the_memory(
    reference: Reference, shipped: Shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As 8,192 tokens do by the limit of the module; the longest always runs."""
    most = 2 * reference.max_tokens
    shapes: list[tuple[int, int]] = []

    def watched(rows: Rows, pad_id: int, device: torch.device | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        ids_BT, mask_BT = pad(rows, pad_id, device=device)
        shapes.append((ids_BT.shape[0], ids_BT.shape[1]))
        return ids_BT, mask_BT

    def watched_feeder(inputs: Sequence[str], pad_id: int) -> Feeder:
        def feed(rows: Sequence[Item]) -> Feeds:
            feeds = feeder(inputs, pad_id)(rows)
            shapes.append(feeds["input_ids"].shape)
            return feeds

        return feed

    for place in ("training.export.parity", "training.evaluate"):
        monkeypatch.setattr(f"{place}.slices", partial(slices, most_tokens=most))
    monkeypatch.setattr("training.evaluate.pad", watched)
    monkeypatch.setattr("training.export.parity.feeder", watched_feeder)
    monkeypatch.setattr("training.export.parity.most_rows", partial(most_rows, most_tokens=most))

    check_parity(reference, shipped)

    assert max(batch * length for batch, length in shapes) <= most
    assert {(1, reference.max_tokens), (2, reference.max_tokens), (32, 3)} <= set(shapes)


def test_label_order_changed_is_refused(reference: Reference, shipped: Shipped, heads: list[Head]) -> None:
    right, wrong = (
        heads[0],
        heads[0].model_copy(update={"labels": ["weather", "play_music", "lights_on", "lights_off"]}),
    )
    exam, asked = make_exam(right, ROWS), make_exam(wrong, ROWS)
    assert exam is not None
    assert asked is not None

    with pytest.raises(GateError, match=r"head intent: accuracy") as refusal:
        check_parity(reference, shipped, [(asked, _torch_figure(exam, reference))])

    assert refusal.value.rule == "G10-metric"


def _torch_figure(exam: Exam, reference: Reference) -> float:
    outputs = predict(
        reference.model,
        reference.tokenizer,
        exam.texts,
        max_tokens=reference.max_tokens,
        pad_id=reference.pad_id,
    )
    return exam.judge(outputs)[0]
