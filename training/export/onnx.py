"""How does a torch model become one ONNX file?

Three ways, from the fastest graph to the plainest: torch's dynamo exporter with onnxscript's fusions, the same without
fusions, and the older TorchScript exporter with ONNX Runtime's own optimizer. Which of them fuses attention depends on
exporter and optimizer together, and nothing says so when it does not, so the fused operators are counted.
Invariants: one file with its tensors inside; inputs `input_ids`, `attention_mask` int64 [batch, tokens]; the outputs
are the model's, in its order; no dropout; no names of this machine in the file. B rows, T tokens.
"""

import io
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import onnx
import onnx.inliner
import onnx_ir
import torch
from onnx import ModelProto
from onnxruntime.transformers.optimizer import optimize_model
from onnxscript.rewriter.ort_fusions import optimize_for_ort
from torch import nn

from training.errors import TrainingError
from training.modeling.model import Model

INPUTS = ("input_ids", "attention_mask")
AXES = ("batch", "tokens")
OPSET = 20  # torch 2.13's own default, and the newest that its fusions know
TORCHSCRIPT_OPSET = 17  # the newest that ONNX Runtime's optimizer fuses (LayerNormalization is one node from 17 on)
FUSED_DOMAIN = "com.microsoft"


Way = Callable[[Model, int], tuple[ModelProto, str]]  # model, max_tokens → the graph and the name of the way


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """One ONNX file. `fused_ops` counts ONNX Runtime's fused operators; `exporter` says how it was made."""

    data: bytes
    fused_ops: Mapping[str, int]
    exporter: str


def candidates(model: Model, *, max_tokens: int) -> Iterator[ExportedGraph]:
    """The model as a graph, best way first; a way is only gone when it is asked for.

    A way that fails on this model is left out.

    Raises:
        TrainingError: every way failed; the message is that of the first.
    """
    failures: list[TrainingError] = []
    made = 0
    for way in WAYS:
        try:
            graph = export_graph(model, way, max_tokens=max_tokens)
        except TrainingError as error:
            failures.append(error)
            continue
        made += 1
        yield graph
    if not made:
        raise failures[0]


def export_graph(model: Model, way: Way, *, max_tokens: int) -> ExportedGraph:
    """The model as one ONNX file, in evaluation mode; the model itself stays as it was.

    Raises:
        TrainingError: the exporter cannot express the model.
    """
    was_training = model.training
    model.eval()
    try:
        with quiet():
            proto, exporter = way(model, max_tokens)
            _set_widths(proto, model)
    except Exception as error:  # exporters raise whatever their many parts raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrainingError(f"the model cannot be exported to ONNX: {reason}") from error
    finally:
        model.train(was_training)
    proto = _inlined(proto)
    strip(proto)
    return ExportedGraph(proto.SerializeToString(deterministic=True), fused_counts(proto), exporter)


def fused(model: Model, max_tokens: int) -> tuple[ModelProto, str]:
    """Dynamo, then onnxscript's fusions for ONNX Runtime: the fastest graph for most encoders."""
    fused, _counts = optimize_for_ort(_dynamo(model, max_tokens).model)
    return onnx_ir.to_proto(fused), "dynamo + ort_fusions"


def plain(model: Model, max_tokens: int) -> tuple[ModelProto, str]:
    """Dynamo alone: ONNX Runtime still fuses some of it when it opens the file."""
    return _dynamo(model, max_tokens).model_proto, "dynamo"


def _dynamo(model: Model, max_tokens: int) -> torch.onnx.ONNXProgram:
    if any(isinstance(module, nn.RNN) for module in model.modules()):
        raise TrainingError("dynamo unrolls nn.RNN over the tokens of its example")  # and says nothing of it
    ids_BT, mask_BT = _example(max_tokens)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=max_tokens)}
    program = torch.onnx.export(
        model,
        (ids_BT, mask_BT),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(INPUTS),
        output_names=_output_names(model),
        dynamic_shapes=(axes, axes),
        external_data=False,
        verbose=False,
    )
    assert program is not None  # dynamo=True always returns one
    return program


def torchscript(model: Model, max_tokens: int) -> tuple[ModelProto, str]:
    """The older exporter, then, for what is built like BERT, ONNX Runtime's optimizer, which knows attention only as it
    is written out.
    """
    buffer, outputs = io.BytesIO(), _output_names(model)
    with model.encoder.exporting() as heads:
        torch.onnx.export(
            model,
            _example(max_tokens),
            buffer,  # type: ignore[arg-type]  # a file object is taken, the annotation knows paths only
            dynamo=False,
            opset_version=TORCHSCRIPT_OPSET,
            input_names=list(INPUTS),
            output_names=outputs,
            dynamic_axes={name: dict(enumerate(AXES)) for name in INPUTS} | {name: {0: "batch"} for name in outputs},
        )
    exported = onnx.load_model_from_string(buffer.getvalue())
    if heads is None:
        return exported, "torchscript"
    optimized = optimize_model(
        exported,
        model_type="bert",
        num_heads=heads,
        hidden_size=model.encoder.hidden,
        opt_level=0,
    )
    return optimized.model, "torchscript + onnxruntime.transformers"


WAYS: tuple[Way, ...] = (fused, plain, torchscript)


def _example(max_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two rows of some tokens: sizes 0 and 1 would be taken for constants. One row ends in padding."""
    ids_BT = torch.ones(2, min(7, max_tokens), dtype=torch.long)
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[1, -1] = 0
    return ids_BT, mask_BT


def _output_names(model: Model) -> list[str]:
    with torch.inference_mode():
        return list(model(*_example(3)))


def _set_widths(proto: ModelProto, model: Model) -> None:
    """Say how many values each output has: inference of shapes loses it behind recurrent operators."""
    with torch.inference_mode():
        outputs = model(*_example(3))
    for value in proto.graph.output:
        value.type.tensor_type.shape.dim[1].dim_value = outputs[value.name].shape[1]


def _inlined(proto: ModelProto) -> ModelProto:
    """Functions unfolded into the graph, so that only known operators are left."""
    return onnx.inliner.inline_local_functions(proto) if proto.functions else proto


def strip(proto: ModelProto) -> None:
    """Take out what the exporters note for themselves: source lines with this machine's paths, and half a megabyte."""
    proto.doc_string = ""
    del proto.metadata_props[:]
    graph = proto.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]  # shapes of inner values: runtimes infer them themselves
    for value in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]


def fused_counts(proto: ModelProto) -> dict[str, int]:
    """How many of ONNX Runtime's fused operators there are, by name."""
    counts = Counter(node.op_type for node in proto.graph.node if node.domain == FUSED_DOMAIN)
    return dict(sorted(counts.items()))


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn of their own inner workings; the gate judges the result."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "onnxruntime", "fusion_base")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
