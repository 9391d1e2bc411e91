"""Every way of exporting gives a file that passes the gate."""

from collections.abc import Iterator
from dataclasses import replace

import onnx
import pytest
import torch

from app.bundle.graph import DOMAINS
from training.errors import TrainingError
from training.export.onnx import ExportedGraph, Way, candidates, export_graph, fused, plain, torchscript
from training.export.parity import Reference, Shipped, check_parity
from training.modeling import Model

BERT_FUSIONS = {"Attention": 2, "BiasGelu": 2, "SkipLayerNormalization": 4}  # of two layers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "counts"),
    [(fused, BERT_FUSIONS), (plain, {}), (torchscript, BERT_FUSIONS | {"EmbedLayerNormalization": 1})],
    ids=["fused", "plain", "torchscript"],
)
def test_each_way_passes_the_gate_and_counts_its_fusions(
    way: Way, counts: dict[str, int], reference: Reference, shipped: Shipped
) -> None:
    graph = export_graph(reference.model, way, max_tokens=reference.max_tokens)

    check_parity(reference, replace(shipped, graph=graph.data))
    assert graph.fused_ops == counts


def test_signature_is_the_one_that_bundles_promise(graph: ExportedGraph) -> None:
    model = onnx.load_model_from_string(graph.data)

    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert axes == {
        "input_ids": ["batch", "tokens"],
        "attention_mask": ["batch", "tokens"],
        "sentence_embedding": ["batch", 32],
        "logits_intent": ["batch", 4],
    }
    assert {node.domain for node in model.graph.node} <= DOMAINS
    assert not model.functions


@pytest.mark.slow
def test_file_names_no_path_of_this_machine(reference: Reference) -> None:
    graph = export_graph(reference.model, fused, max_tokens=reference.max_tokens)

    assert b".py" not in graph.data


def test_the_model_keeps_its_mode_and_its_attention(reference: Reference) -> None:
    model = reference.model
    model.train()

    export_graph(model, torchscript, max_tokens=reference.max_tokens)

    was_training = model.training
    model.eval()
    assert was_training
    assert model.encoder.trunk.config._attn_implementation == "sdpa"


class Unexportable(Model):
    """Leaves torch in the middle, as code of a user may."""

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> dict[str, torch.Tensor]:
        if ids_BT.shape == (2, 7) and not torch.is_inference_mode_enabled():
            raise NotImplementedError("this part has no graph")
        return super().forward(ids_BT, mask_BT)


def test_a_model_that_cannot_be_exported_is_one_clear_error(reference: Reference) -> None:
    model = Unexportable(reference.model.encoder, {}).eval()

    with pytest.raises(TrainingError, match="the model cannot be exported to ONNX: this part has no graph"):
        export_graph(model, torchscript, max_tokens=reference.max_tokens)


def test_ways_are_tried_one_after_the_other(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that fails is left out; the next is only gone when it is asked for."""
    tried: list[str] = []

    def failing(model: Model, max_tokens: int) -> tuple[onnx.ModelProto, str]:
        tried.append("failing")
        raise NotImplementedError("no")

    monkeypatch.setattr("training.export.onnx.WAYS", (failing, torchscript))
    graphs: Iterator[ExportedGraph] = candidates(reference.model, max_tokens=reference.max_tokens)

    assert tried == []
    assert [graph.exporter for graph in graphs] == ["torchscript + onnxruntime.transformers"]
    assert tried == ["failing"]
