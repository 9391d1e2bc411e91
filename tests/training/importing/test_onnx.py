"""ONNX files of others come in with their tokenizer, and give what their own file gives."""

import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import ModelProto, TensorProto, helper
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification

from app.bundle.errors import BundleError
from app.bundle.manifest import ClassifyHead, Parity
from app.bundle.open import open_bundle
from app.bundle.scoring import probabilities, unit
from tests.training.classifiers import TEXTS, Floats, ask, logits_of, save_classifier, scores_of
from tests.training.families import HIDDEN, MAX_TOKENS, module_list, plain_wordpiece, save_family
from training.errors import GateError, TrainingError
from training.export.parity import GraphRunner
from training.importing import Imported, read_source
from training.progress import Progress
from training.recipe.encoder import EncoderTable
from training.run import import_encoder

CLOSE = 1e-5
LABELS = {0: "off", 1: "on", 2: "other"}
BOTH, ALL = ["input_ids", "attention_mask"], ["input_ids", "attention_mask", "token_type_ids"]
LOOKUP = helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])
MEAN = {"embedding_dimension": HIDDEN, "pooling_mode": "mean"}


class Outputs(nn.Module):
    """Some outputs of transformers' model, as exporters wrap it."""

    def __init__(self, model: nn.Module, names: Sequence[str], inputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names, self.inputs = model, names, inputs

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.model(**dict(zip(self.inputs, inputs, strict=True)), return_dict=True)
        return tuple(found[name] for name in self.names)


def export(
    model: nn.Module,
    path: Path,
    outputs: Sequence[str],
    *,
    inputs: Sequence[str] = ALL,
    opset: int = 14,
    called: Mapping[str, str] | None = None,
    fixed: bool = False,
    dtype: torch.dtype = torch.long,
) -> Path:
    """As others export: torch's older exporter, transformers' names, dynamic axes."""
    path.parent.mkdir(exist_ok=True, parents=True)
    names = [(called or {}).get(name, name) for name in outputs]
    example = torch.ones(2, 5, dtype=dtype)
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in inputs} | {
        name: {0: "batch_size"} for name in names
    }
    for name in names:
        if "state" in name or "token" in name:
            axes[name] = {0: "batch_size", 1: "sequence_length"}
    torch.onnx.export(
        Outputs(model.eval(), outputs, inputs),
        tuple(torch.zeros_like(example) if "type" in name else example for name in inputs),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=list(inputs),
        output_names=names,
        dynamic_axes={} if fixed else axes,
    )
    return path


def source(folder: Path, *, settings: Mapping[str, object] | None = None) -> Path:
    """`folder` with its tokenizer and settings but without weights."""
    (folder / "model.safetensors").unlink()
    for name, content in (settings or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture(autouse=True)
def _exporter_warns(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("ignore")


@pytest.fixture
def encoder(exported: Path, tmp_path: Path) -> Path:
    """One of its own for a test that changes it."""
    return Path(shutil.copytree(exported, tmp_path / "encoder"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT whose states are exported, with the pooling that sentence-transformers has written down."""
    warnings.simplefilter("ignore")  # the older exporter's; fixtures of a module come before those of a test
    folder = save_family("bert", tmp_path_factory.mktemp("bert"))
    export(AutoModel.from_pretrained(folder, attn_implementation="eager"), folder / "model.onnx", ["last_hidden_state"])
    return source(
        folder, settings={"modules.json": module_list("Transformer", "Pooling"), "1_Pooling/config.json": MEAN}
    )


def read(path: Path, vector: str | None = None, **more: Any) -> Imported:  # noqa: ANN401
    return read_source(EncoderTable(source=str(path), **more), vector)


def rows_of(found: Imported) -> list[list[int]]:
    return [
        ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]
        for ids in (plain_wordpiece().encode(text).ids for text in TEXTS)
    ]


def graphs_give(found: Imported, *, fused: bool = False) -> list[dict[str, Floats]]:
    """What the bundle's graph gives to `TEXTS`; `fused`: with onnxscript's fusions, and without them."""
    assert found.graphs is not None
    with pytest.MonkeyPatch.context() as patch:
        if not fused:  # they take a second
            patch.setattr("training.importing.onnx_graph.optimize_for_ort", _takes_nothing)
        graphs = list(found.graphs())
    assert len(graphs) == 1 + fused
    return [GraphRunner(graph.data, 0).run(rows_of(found), "texts") for graph in graphs]


def _takes_nothing(model: object) -> None:
    raise ValueError("no graph is good enough")


def original_gives(path: Path, output: str) -> list[Floats]:
    """The file as it came, a text at a time: [T, D] or [C]."""
    session = ort.InferenceSession(str(path))
    inputs: dict[str, type[np.signedinteger[Any]]] = {
        one.name: np.int32 if "int32" in one.type else np.int64 for one in session.get_inputs()
    }
    answers = []
    for text in TEXTS:
        row = plain_wordpiece().encode(text).ids
        ids = np.array([row if len(row) <= MAX_TOKENS else [*row[: MAX_TOKENS - 1], row[-1]]])
        feeds: dict[str, np.ndarray] = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        answers.append(session.run([output], {name: feeds[name].astype(kind) for name, kind in inputs.items()})[0][0])
    return answers


@pytest.mark.parametrize(
    ("place", "by_name"),
    [("model.onnx", False), ("onnx/model.onnx", False), ("onnx/model.onnx", True)],
    ids=["optimum's folder", "sentence-transformers' folder", "the file"],
)
def test_states_are_pooled_as_the_folder_says(place: str, by_name: bool, encoder: Path) -> None:
    path = encoder / place
    path.parent.mkdir(exist_ok=True)
    (encoder / "model.onnx").rename(path)

    found = read(path if by_name else encoder)

    want_BD = np.stack([states_TD.mean(axis=0) for states_TD in original_gives(path, "last_hidden_state")])
    for outputs in graphs_give(found, fused=True):
        assert list(outputs) == ["sentence_embedding"]
        assert np.abs(outputs["sentence_embedding"] - want_BD).max() < CLOSE
    assert (found.loaded.pooling, found.loaded.max_tokens, found.loaded.encoder.hidden) == ("mean", MAX_TOKENS, HIDDEN)


def lookup(folder: Path, opset: int) -> Path:
    """A graph of one table."""
    folder.mkdir()
    plain_wordpiece().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": MAX_TOKENS}))
    table = np.random.default_rng(0).normal(size=(200, HIDDEN)).astype(np.float32)
    _save_graph(folder / "model.onnx", [LOOKUP], [table], opset=opset)
    return folder


@pytest.mark.parametrize("opset", [11, 17, 22])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens", "weightedmean"])
def test_every_pooling_in_every_opset(pooling: str, opset: int, tmp_path: Path) -> None:
    folder = lookup(tmp_path / "lookup", opset)
    if (pooling, opset) == ("lasttoken", 11):
        with pytest.raises(TrainingError, match="lasttoken pooling needs opset 12, and the file is of 11"):
            read(folder, pooling=pooling)
        return

    found = read(folder, pooling=pooling)

    outputs = found.model(torch.tensor([[2, 9, 3], [2, 3, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]))
    assert found.graphs is not None
    graph = list(found.graphs())[-1].data
    got = GraphRunner(graph, 0).run([[2, 9, 3], [2, 3]], "rows")["sentence_embedding"]
    assert np.abs(got - outputs["sentence_embedding"].detach().numpy()).max() < CLOSE


def _save_graph(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    tables: Sequence[Floats],
    *,
    opset: int = 17,
    inputs: Sequence[str] = BOTH,
    output: str = "last_hidden_state",
    domain: str = "",
) -> Path:
    axes = ["batch", "tokens"]
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [*axes, HIDDEN])],
        [onnx.numpy_helper.from_array(table, "table") for table in tables],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    "family", ["bert", *(pytest.param(name, marks=pytest.mark.long) for name in ("distilbert", "roberta"))]
)
def test_logits_are_a_classifier(family: str, tmp_path: Path) -> None:
    folder = save_classifier(family, tmp_path / family, LABELS)
    want_BC = logits_of(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    export(model, folder / "model.onnx", ["logits"], inputs=ALL if family == "bert" else BOTH)

    found = read(source(folder))

    (head,) = found.heads
    assert (head.labels, head.problem_type) == (["off", "on", "other"], "single_label")
    for outputs in graphs_give(found):
        assert list(outputs) == ["logits_label"]
        assert np.abs(outputs["logits_label"] - want_BC).max() < CLOSE


def test_vector_beside_logits_is_kept(tmp_path: Path) -> None:
    folder = save_classifier("bert", tmp_path / "bert", LABELS, output_hidden_states=True)

    class WithStates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")

        def forward(self, **inputs: Any) -> dict[str, torch.Tensor]:  # noqa: ANN401
            found = self.model(**{**inputs, "return_dict": True})
            return {"logits": found.logits, "last_hidden_state": found.hidden_states[-1]}

    export(WithStates(), folder / "model.onnx", ["logits", "last_hidden_state"])

    found = read(source(folder), pooling="cls")

    for outputs in graphs_give(found):
        assert list(outputs) == ["sentence_embedding", "logits_label"]
        first_BD = np.stack([one[0] for one in original_gives(folder / "model.onnx", "last_hidden_state")])
        assert np.abs(outputs["sentence_embedding"] - first_BD).max() < CLOSE


def test_states_are_pooled_beside_a_vector_of_the_file_s_own(tmp_path: Path) -> None:
    """Files of sentence-transformers give both, and the bundle's name for its vector is taken inside."""
    folder = save_family("bert", tmp_path / "bert")
    model = AutoModel.from_pretrained(folder, attn_implementation="eager")
    called = {"last_hidden_state": "token_embeddings", "pooler_output": "sentence_embedding"}
    export(model, folder / "model.onnx", list(called), called=called)
    source(folder)

    own, pooled = read(folder, pooling="cls"), read(folder, pooling="mean", vector="token_embeddings")

    assert own.loaded.architecture == "ONNX file, sentence_embedding"
    vectors_BD = np.stack(original_gives(folder / "model.onnx", "sentence_embedding"))
    means_BD = np.stack([one.mean(axis=0) for one in original_gives(folder / "model.onnx", "token_embeddings")])
    for found, want_BD in ((own, vectors_BD), (pooled, means_BD)):
        assert all(np.abs(outputs["sentence_embedding"] - want_BD).max() < CLOSE for outputs in graphs_give(found))


def test_pooler_output_is_taken_on_request_only(tmp_path: Path) -> None:
    folder = save_family("bert", tmp_path / "bert")
    export(AutoModel.from_pretrained(folder, attn_implementation="eager"), folder / "model.onnx", ["pooler_output"])
    source(folder)

    with pytest.raises(TrainingError, match="say with --vector which one is the vector"):
        read(folder)
    found = read(folder, vector="pooler_output")

    want_BD = np.stack(original_gives(folder / "model.onnx", "pooler_output"))
    assert all(np.abs(outputs["sentence_embedding"] - want_BD).max() < CLOSE for outputs in graphs_give(found))
    assert found.loaded.pooling == "cls"


def test_inputs_of_32_bits_are_cast_inside(encoder: Path) -> None:
    model = onnx.load(encoder / "model.onnx")
    for one in model.graph.input:
        one.type.tensor_type.elem_type = TensorProto.INT32
    _cast_inside(model)
    onnx.save(model, encoder / "model.onnx")

    found = read(encoder)

    want_BD = np.stack([one.mean(axis=0) for one in original_gives(encoder / "model.onnx", "last_hidden_state")])
    assert all(np.abs(outputs["sentence_embedding"] - want_BD).max() < CLOSE for outputs in graphs_give(found))


def _cast_inside(model: ModelProto) -> None:
    """The graph itself goes on in 64 bits."""
    names = [one.name for one in model.graph.input]
    for node in model.graph.node:
        node.input[:] = [f"{name}_64" if name in names else name for name in node.input]
    casts = [helper.make_node("Cast", [name], [f"{name}_64"], to=TensorProto.INT64) for name in names]
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def test_what_nothing_reads_is_left_out_and_equal_weights_are_kept_once(tmp_path: Path) -> None:
    folder = tmp_path / "twice"
    folder.mkdir()
    table = np.random.default_rng(1).normal(size=(9000, HIDDEN)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["one"]),
        helper.make_node("Gather", ["again", "input_ids"], ["other"]),
        helper.make_node("Add", ["one", "other"], ["last_hidden_state"]),
        helper.make_node("Exp", ["unread"], ["nothing"]),
    ]
    model = onnx.load(_save_graph(folder / "model.onnx", nodes, [table]))
    model.graph.initializer.extend(onnx.numpy_helper.from_array(table, name) for name in ("again", "unread"))
    onnx.save(model, folder / "model.onnx")
    plain_wordpiece().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": MAX_TOKENS}))

    graphs = read(folder, pooling="mean").graphs

    assert graphs is not None
    made = onnx.load_model_from_string(list(graphs())[-1].data)
    large = [tensor.name for tensor in made.graph.initializer if len(tensor.raw_data) > 2**20]
    assert large == ["table"]
    assert "Exp" not in [node.op_type for node in made.graph.node]


def test_data_outside_the_file_is_refused_with_the_way_out(encoder: Path) -> None:
    model = onnx.load(encoder / "model.onnx")
    onnx.save_model(
        model, encoder / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0
    )

    with pytest.raises(TrainingError, match=r"tensors in model\.onnx\.data; a bundle's graph is one file") as refused:
        read(encoder)

    command = str(refused.value).split('python -c "')[1].split('"`')[0]
    exec(command, {})
    (encoder / "one.onnx").rename(encoder / "model.onnx")
    assert read(encoder).loaded.encoder.width == HIDDEN


def test_file_of_over_2_gb_is_refused_unread(encoder: Path) -> None:
    with (encoder / "model.onnx").open("r+b") as file:
        file.truncate(2**31)  # takes no room on the disk

    with pytest.raises(TrainingError, match="is over 2 GB, the most that one ONNX file"):
        read(encoder)


TABLE = np.ones((200, HIDDEN), np.float32)
GRAPHS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "another operator": (
        {"nodes": [helper.make_node("Own", ["input_ids"], ["last_hidden_state"], domain="own")], "domain": "own"},
        "unknown operator own::Own",
    ),
    "no mask": ({"nodes": [LOOKUP], "inputs": ["input_ids"]}, "takes input_ids, not attention_mask; export it with"),
    "positions": (
        {"nodes": [LOOKUP], "inputs": [*BOTH, "position_ids"]},
        "also takes position_ids; supported are input_ids, attention_mask and token_type_ids",
    ),
    "other names": (
        {"nodes": [helper.make_node("Gather", ["table", "input_ids"], ["output_0"])], "output": "output_0"},
        "gives output_0 of 3 axes; taken by name are logits",
    ),
    "old opset": ({"nodes": [LOOKUP], "opset": 10}, "is of opset 10; supported are 11 to "),
    "half": ({"nodes": [LOOKUP], "tables": [TABLE.astype(np.float16)]}, "is in half precision; a bundle begins with"),
    "quantised": (
        {"nodes": [LOOKUP, helper.make_node("DynamicQuantizeLinear", ["last_hidden_state"], ["q", "s", "z"])]},
        r"is quantised \(DynamicQuantizeLinear\); a bundle begins with float32",
    ),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_graphs_that_no_bundle_can_hold_are_refused(case: str, encoder: Path) -> None:
    made, message = GRAPHS[case]
    _save_graph(encoder / "model.onnx", **{"tables": [TABLE], **made})

    with pytest.raises((TrainingError, BundleError), match=message):
        read(encoder)


def test_another_output_is_taken_by_its_name(encoder: Path) -> None:
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["output_0"])]
    _save_graph(encoder / "model.onnx", nodes, [TABLE], output="output_0")

    assert read(encoder, vector="output_0").loaded.encoder.width == HIDDEN
    with pytest.raises(TrainingError, match="has no output output_1 of vectors or states; it has output_0 of 3 axes"):
        read(encoder, vector="output_1")


def test_two_outputs_of_a_file_are_two_spaces(tmp_path: Path) -> None:
    folder = save_family("bert", tmp_path / "bert")
    model = AutoModel.from_pretrained(folder, attn_implementation="eager")
    export(model, folder / "model.onnx", ["last_hidden_state", "pooler_output"])
    source(folder)

    states, pooler = read(folder, pooling="cls"), read(folder, pooling="cls", vector="pooler_output")

    assert states.loaded.architecture == "ONNX file, last_hidden_state"
    assert pooler.loaded.architecture == "ONNX file, pooler_output"
    assert torch.equal(states.loaded.encoder.weights()["file"], pooler.loaded.encoder.weights()["file"])


def test_folder_of_other_onnx_files_names_them(encoder: Path) -> None:
    (encoder / "model.onnx").rename(encoder / "model_optimized.onnx")

    with pytest.raises(TrainingError, match=r"of its ONNX files \(model_optimized\.onnx\), name the one to import"):
        read(encoder)
    assert read(encoder / "model_optimized.onnx").loaded.pooling == "mean"


def test_fixed_axes_are_refused(encoder: Path, tmp_path: Path) -> None:
    model = AutoModel.from_config(AutoModel.from_pretrained(save_family("bert", tmp_path / "again")).config)
    export(model, encoder / "model.onnx", ["last_hidden_state"], fixed=True)

    with pytest.raises(TrainingError, match="input_ids has an axis of 2 and 5 for good; export it with dynamic axes"):
        read(encoder)


BESIDE: Mapping[str, tuple[str, Mapping[str, object] | None, str]] = {
    "no tokenizer": ("tokenizer.json", None, "has no tokenizer.json, without which model.onnx cannot read a text"),
    "no pooling": ("modules.json", None, r"nothing beside it says how states .* become last_hidden_state .*--pooling"),
    "dense behind": (
        "modules.json",
        cast("Mapping[str, object]", module_list("Transformer", "Pooling", "Dense")),
        "has Dense behind the pooling, which is not in the file; import its weights",
    ),
    "no limit": (
        "config.json",
        {"hidden_size": HIDDEN},
        "does not say how many tokens the model takes; write model_max",
    ),
}


@pytest.mark.parametrize("case", BESIDE)
def test_what_a_file_cannot_say_must_be_said_beside_it(case: str, encoder: Path) -> None:
    name, content, message = BESIDE[case]
    if content is None:
        (encoder / name).unlink()
    else:
        (encoder / name).write_text(json.dumps(content))

    with pytest.raises(TrainingError, match=message):
        read(encoder)


def test_labels_that_are_not_the_logits_are_refused(tmp_path: Path) -> None:
    folder = save_classifier("distilbert", tmp_path / "bert", LABELS)
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    export(model, folder / "model.onnx", ["logits"], inputs=BOTH)
    config = json.loads((source(folder) / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": {"0": "a", "1": "b"}}))

    with pytest.raises(TrainingError, match=r"config\.json names 2 labels; .*model\.onnx gives 3"):
        read(folder)


def test_file_that_reads_pairs_is_refused(encoder: Path) -> None:
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "sbert_ce_default_activation_function": "x"}))

    with pytest.raises(TrainingError, match="is a CrossEncoder of sentence-transformers"):
        read(encoder / "model.onnx")


def test_vector_of_a_source_with_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--vector names an output of an ONNX file"):
        read(save_family("bert", tmp_path / "bert"), vector="last_hidden_state")


def test_weights_are_taken_before_a_ready_made_file(encoder: Path, tmp_path: Path) -> None:
    weights = save_family("bert", tmp_path / "weights") / "model.safetensors"
    (encoder / "model.safetensors").write_bytes(weights.read_bytes())

    assert read(encoder).graphs is None
    assert read(encoder / "model.onnx").graphs is not None


def test_gate_refuses_a_file_that_feels_its_padding(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain mean over all tokens of the batch, padding too, as files with a pooling of their own may have."""
    monkeypatch.setattr("training.export.variants.MAKERS", ())
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["states"]),
        helper.make_node("ReduceMean", ["states"], ["sentence_embedding"], axes=[1], keepdims=0),
    ]
    table = np.random.default_rng(2).normal(size=(200, HIDDEN)).astype(np.float32)
    model = onnx.load(_save_graph(encoder / "model.onnx", nodes, [table]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["b", HIDDEN]))
    onnx.save(model, encoder / "model.onnx")

    with pytest.raises(GateError, match=r"G0[47]"):
        import_encoder(str(encoder), models=encoder, progress=Progress())


@pytest.mark.slow
def test_application_answers_as_the_file_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.export.variants.MAKERS", ())
    folder = save_classifier("bert", tmp_path / "bert", LABELS)
    want_BC = logits_of(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    export(model, folder / "onnx" / "model.onnx", ["logits"])

    bundle = import_encoder(str(source(folder)), models=tmp_path, progress=Progress())

    manifest = open_bundle(bundle).manifest
    (head,) = manifest.heads
    assert isinstance(head, ClassifyHead)
    assert manifest.training["reference"] == "the source's ONNX file"
    assert "- Against the source's ONNX file over " in (bundle / "MODEL_CARD.md").read_text()
    parity = manifest.parity["model.fp32.onnx"]
    assert isinstance(parity, Parity)
    assert parity.vector_max_abs_diff is None
    assert parity.logits_max_abs_diff is not None
    assert parity.logits_max_abs_diff < CLOSE
    (classified,) = ask(bundle, {"/classify": {}})
    assert np.abs(scores_of(classified, head) - probabilities(head, want_BC)).max() < CLOSE


@pytest.mark.long
def test_application_embeds_as_the_file_came(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.export.variants.MAKERS", ())

    bundle = import_encoder(str(encoder), models=encoder / "m", progress=Progress())

    want_BD = np.stack([one.mean(axis=0) for one in original_gives(encoder / "model.onnx", "last_hidden_state")])
    (embedded,) = ask(bundle, {"/embed": {"normalize": True}})
    assert np.abs(np.array(embedded["embeddings"]) - unit(want_BD)).max() < CLOSE
