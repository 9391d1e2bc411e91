"""Two settings that disagree are both named."""

import pytest
from pydantic import ValidationError

from tests.training.tiny import MakeRecipe
from training.recipe import Recipe

VECTORS = {"source": "files", "train": "unused.jsonl", "columns": {"vector": "numbers"}}
SEVERAL = {"task": "classify", "problem_type": "multi_label"}
NUMBER = {"task": "classify", "problem_type": "regression"}
BINARY = {"name": "binary_cross_entropy"}
SCORED = {"source": "files", "train": "x.jsonl", "columns": {"score": "rating"}}


def more(column: str = "room", loss: str = "cross_entropy", **head: object) -> dict[str, object]:
    """A second head over a column of the primary rows."""
    return {"column": column, "loss": {"name": loss}, "head": {"task": "classify", "name": "room", **head}}


CONFLICTS: dict[str, tuple[dict[str, object], str]] = {
    "parts of in-batch negatives": (
        {"task": "embed", "budget": {"accumulate": 2}},
        'budget.accumulate = 2 and loss.name = "in_batch_negatives" disagree: a part of a batch has fewer rows to '
        "compare, so the result would be another; loss.cached_rows = 16 takes as little memory and has the same result",
    ),
    "parts of scored pairs": (
        {"task": "embed", "data": SCORED, "loss": {"name": "cosent"}, "budget": {"accumulate": 4}},
        'budget.accumulate = 4 and loss.name = "cosent" disagree: a part of a batch has fewer rows to compare',
    ),
    "a score that nothing reads": (
        {"task": "embed", "data": SCORED},
        'loss.name = "in_batch_negatives" and data.columns.score = "rating" disagree: it takes every pair for a match',
    ),
    "no score to read": (
        {"task": "embed", "loss": {"name": "angle"}},
        'loss.name = "angle" and data.columns without score disagree: it learns from a number for each pair',
    ),
    "a negative of scored pairs": (
        {
            "task": "embed",
            "data": {**SCORED, "columns": {"score": "rating", "negative": "other"}},
            "loss": {"name": "cosent"},
        },
        'loss.name = "cosent" and data.columns.negative = "other" disagree: it learns from pairs and their scores',
    ),
    "halves of an odd vector": (
        {"data": SCORED, "loss": {"name": "angle"}, "head": {"task": "embed", "cuts": [16, 15]}},
        'loss.name = "angle" and head.cuts = [16, 15] disagree: it halves each vector, so the sizes must be even',
    ),
    "logits of an embedder": (
        {"task": "embed", "teacher": {"source": "x", "learns": "logits"}},
        'teacher.learns = "logits" and head.task = "embed" disagree: it has no logits; take "vectors"',
    ),
    "a student that is frozen": (
        {"encoder": {"source": "x", "freeze": "all"}, "teacher": {"source": "x"}},
        'teacher.learns = "vectors" and encoder.freeze = "all" disagree: vectors that do not move learn from nobody',
    ),
    "a cache of the whole batch": (
        {"task": "embed", "loss": {"name": "in_batch_negatives", "cached_rows": 8}, "budget": {"batch_size": 8}},
        "loss.cached_rows = 8 and budget.batch_size = 8 disagree: a batch would be encoded at once, as without it",
    ),
    "parts of a contrastive share": (
        {"budget": {"accumulate": 2}, "loss": {"name": "focal", "contrastive_share": 0.5}},
        "budget.accumulate = 2 and loss.contrastive_share = 0.5 disagree: a part of a batch has fewer rows to compare",
    ),
    "more parts than rows": (
        {"budget": {"batch_size": 4, "accumulate": 5}},
        "budget.accumulate = 5 and budget.batch_size = 4 disagree: a part of a batch has at least one row",
    ),
    "nothing to train": (
        {"task": "embed", "encoder": {"source": "x", "freeze": "all"}},
        'encoder.freeze = "all" and head.task = "embed" disagree: nothing would be left to train',
    ),
    "checkpointing of what is frozen": (
        {"encoder": {"source": "x", "freeze": "all", "checkpointing": True}},
        'encoder.freeze = "all" and encoder.checkpointing = true disagree: a frozen encoder has no way back',
    ),
    "layer decay of what is frozen": (
        {"encoder": {"source": "x", "freeze": "all"}, "optim": {"layer_decay": 0.9}},
        'encoder.freeze = "all" and optim.layer_decay = 0.9 disagree: a frozen encoder has no rate',
    ),
    "muon of what is frozen": (
        {"encoder": {"source": "x", "freeze": "all"}, "optim": {"name": "muon"}},
        'encoder.freeze = "all" and optim.name = "muon" disagree: muon moves the matrices of the encoder',
    ),
    "numbers for what reads texts": (
        {"data": VECTORS},
        'encoder.kind = "pretrained" and data.columns.vector disagree: it reads texts; take mlp, rnn, lstm, gru or',
    ),
    "texts for what reads numbers": (
        {"encoder": {"kind": "mlp"}},
        'encoder.kind = "mlp" and data.source = "files" disagree: it reads numbers; name their data.columns.vector',
    ),
    "pairs of numbers": (
        {"task": "embed", "encoder": {"kind": "mlp"}, "data": VECTORS},
        'head.task = "embed" and data.columns.vector disagree: an embedder learns from pairs of texts',
    ),
    "tokens of numbers": (
        {"encoder": {"kind": "gru", "tokenizer": {"kind": "bpe"}}, "data": VECTORS},
        "encoder.tokenizer and data.columns.vector disagree: numbers have no tokens",
    ),
    "a teacher of numbers": (
        {"encoder": {"kind": "mlp"}, "data": VECTORS, "teacher": {"source": "x", "learns": "vectors"}},
        "teacher and data.columns.vector disagree: it reads texts",
    ),
    "probes of numbers": (
        {"encoder": {"kind": "mlp"}, "data": VECTORS, "probes": "p.jsonl"},
        "probes and data.columns.vector disagree: probes are texts",
    ),
    "single vectors for a recurrent encoder": (
        {"encoder": {"kind": "lstm"}, "data": {"source": "digits"}},
        'encoder.kind = "lstm" and data.rows = "vectors" disagree: an mlp reads one vector a row, the others',
    ),
    "sequences for an mlp": (
        {"encoder": {"kind": "mlp"}, "data": {"source": "digits", "rows": "sequences"}},
        'encoder.kind = "mlp" and data.rows = "sequences" disagree: an mlp reads one vector a row, the others',
    ),
    "scope of several labels": (
        {"head": {**SEVERAL, "out_of_scope": 0.5}, "loss": BINARY},
        'head.out_of_scope and head.problem_type = "multi_label" disagree: a text that fits no label gets none of them',
    ),
    "sets of several labels": (
        {"head": {**SEVERAL, "coverages": [0.9]}, "loss": BINARY},
        'head.coverages and head.problem_type = "multi_label" disagree: a set of labels is what it answers already',
    ),
    "one label only of several": (
        {"head": SEVERAL, "loss": BINARY, "data": {"source": "files", "train": "x.csv", "one_label_only": True}},
        'data.one_label_only = true and head.problem_type = "multi_label" disagree: it takes rows of several labels',
    ),
    "sentences of one label": (
        {"head": SEVERAL, "loss": BINARY, "data": {"source": "home-assistant-intents"}},
        'data.source = "home-assistant-intents" and head.problem_type = "multi_label" disagree: its rows have one',
    ),
    "probes of one label": (
        {"head": SEVERAL, "loss": BINARY, "probes": "x.jsonl"},
        'probes = "x.jsonl" and head.problem_type = "multi_label" disagree: probes have one label each',
    ),
    "baselines of one label": (
        {"head": SEVERAL, "loss": BINARY, "baselines": True},
        'baselines = true and head.problem_type = "multi_label" disagree: the baselines give one label a text',
    ),
    "a separator of one label": (
        {"data": {"source": "files", "train": "x.csv", "label_separator": "|"}},
        'data.label_separator = "|" and head.task = "classify" disagree: it parts the labels of a text, which',
    ),
    "thresholds without dev rows": (
        {
            "head": SEVERAL,
            "loss": BINARY,
            "data": {"source": "files", "train": "x.csv", "dev_share": 0},
            "budget": {"choose": "last"},
        },
        'data.dev_share = 0 and head.problem_type = "multi_label" disagree: there are no dev rows to fit thresholds on',
    ),
    "draws of values": (
        {"head": NUMBER, "loss": {"name": "mse"}, "data": {"source": "files", "train": "x.csv", "per_label": 8}},
        'data.per_label = 8 and head.problem_type = "regression" disagree: its rows have no one label to draw them by',
    ),
    "logits for several labels": (
        {"head": SEVERAL, "loss": BINARY, "teacher": {"source": "x", "learns": "logits"}},
        'teacher.learns = "logits" and head.problem_type = "multi_label" disagree: it teaches which one label is right',
    ),
    "scope of a value": (
        {"head": {**NUMBER, "out_of_scope": 0.5}, "loss": {"name": "mse"}},
        'head.out_of_scope and head.problem_type = "regression" disagree: a value has no scope',
    ),
    "sets of values": (
        {"head": {**NUMBER, "coverages": [0.9]}, "loss": {"name": "huber"}},
        'head.coverages and head.problem_type = "regression" disagree: there are no labels to make sets of',
    ),
    "a teacher of several heads": (
        {"teacher": {"source": "x"}, "more_heads": [more()]},
        "teacher and more_heads disagree: it teaches one head",
    ),
    "two heads of one name": (
        {"more_heads": [more(name="label")]},
        'head.name and more_heads.0.head.name = "label" disagree: each head needs a name and an output of its own',
    ),
    "two heads of one output": (
        {"more_heads": [more(name="a-b"), more(name="a_b", column="other")]},
        'more_heads.0.head.name and more_heads.1.head.name = "a_b" disagree: each head needs a name and an output',
    ),
    "the name of the vector": (
        {"head": {"task": "classify", "name": "embedding"}},
        'head.name = "embedding" and head.task = "classify" disagree: every classifier also offers the vector',
    ),
    "heads beside a vector": (
        {"task": "embed", "more_heads": [more()]},
        'more_heads and head.task = "embed" disagree: vectors and labels are not learned together',
    ),
    "a column learned twice": (
        {"more_heads": [more(column="label")]},
        'more_heads.0.column = "label" and head disagree: both would learn the same',
    ),
    "a column of sampled sentences": (
        {"data": {"source": "home-assistant-intents"}, "more_heads": [more()]},
        'more_heads.0.column and data.source = "home-assistant-intents" disagree: its rows have no other columns',
    ),
    "the vector drawn to the labels of one head": (
        {"loss": {"name": "cross_entropy", "contrastive_share": 0.5}, "more_heads": [more()]},
        "loss.contrastive_share = 0.5 and more_heads disagree: it would draw the vector that all heads share",
    ),
    "two scopes by the vector": (
        {
            "head": {"task": "classify", "out_of_scope": {"score": "mahalanobis"}},
            "more_heads": [more(out_of_scope={"label": "none"})],
        },
        "head.out_of_scope and more_heads.0.head.out_of_scope disagree: one head of a bundle at most is scored by",
    ),
    "scope of several labels of a second head": (
        {"more_heads": [more(loss="binary_cross_entropy", problem_type="multi_label", out_of_scope=0.5)]},
        'more_heads.0.head.out_of_scope and more_heads.0.head.problem_type = "multi_label" disagree: a text that',
    ),
    "several heads without dev rows": (
        {
            "data": {"source": "files", "train": "t.csv", "dev_share": 0},
            "budget": {"choose": "last"},
            "more_heads": [more()],
        },
        "data.dev_share = 0 and more_heads disagree: each head is calibrated on dev rows",
    ),
    "a draw of rows for several heads": (
        {"data": {"source": "files", "train": "t.csv", "per_label": 8}, "more_heads": [more()]},
        "data.per_label = 8 and more_heads.0.column disagree: each head would draw other rows",
    ),
    "rows of numbers for a second head": (
        {"more_heads": [{**more(), "column": None, "data": {"source": "digits"}}]},
        "more_heads.0.data and more_heads disagree: its rows are numbers, and several heads read texts",
    ),
    "stages of several heads": (
        {
            "loss": None,
            "stages": [{"loss": {"name": "cross_entropy"}, "epochs": 1}],
            "more_heads": [more()],
        },
        "stages and more_heads disagree: stages train one head",
    ),
    "patience with the last epoch": (
        {"budget": {"choose": "last", "patience": 2}},
        'budget.choose = "last" and budget.patience = 2 disagree: patience waits for a better dev metric',
    ),
    "nothing to choose by": (
        {"data": {"source": "files", "train": "t.csv", "dev_share": 0}},
        'data.dev_share = 0 and budget.choose = "best" disagree: there are no dev rows to choose an epoch by',
    ),
    "no rows to fit scope on": (
        {
            "data": {"source": "files", "train": "t.csv", "dev_share": 0},
            "budget": {"choose": "last"},
            "head": {"task": "classify", "out_of_scope": {"label": "none"}},
        },
        "data.dev_share = 0 and head.out_of_scope disagree: there are no dev rows to fit it on",
    ),
    "draws of pairs": (
        {"task": "embed", "data": {"source": "files", "train": "t.csv", "per_label": 8}},
        'data.per_label = 8 and head.task = "embed" disagree: its rows have no labels',
    ),
    "adapters beside frozen layers": (
        {"encoder": {"source": "x", "freeze": "embeddings", "lora": {}}},
        'encoder.lora and encoder.freeze = "embeddings" disagree: with adapters all other weights of the encoder',
    ),
    "a corpus for labels": (
        {"data": {"source": "files", "train": "t.jsonl", "corpus": "c.jsonl"}},
        'data.corpus = "c.jsonl" and head.task = "classify" disagree: a corpus is where an embedder looks for texts',
    ),
    "half precision on the CPU": (
        {"hardware": {"device": "cpu", "precision": "fp16"}},
        'hardware.precision = "fp16" and hardware.device = "cpu" disagree: fp16 trains on CUDA only; take "bf16"',
    ),
}


@pytest.mark.parametrize(("tables", "message"), CONFLICTS.values(), ids=CONFLICTS)
def test_both_settings_are_named(tables: dict[str, object], message: str, make_recipe: MakeRecipe) -> None:
    with pytest.raises(ValidationError) as refusal:
        make_recipe(**tables)

    (problem,) = refusal.value.errors()
    assert problem["msg"].startswith(f"Value error, {message}")


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"head": SEVERAL, "loss": BINARY},
        {"head": NUMBER, "loss": {"name": "huber", "delta": 0.5}},
        {"loss": {"name": "focal"}},
        {"head": {"task": "classify", "out_of_scope": 0.5}},
        {"task": "embed"},
        {"more_heads": [more()]},
    ],
    ids=["plain", "several labels", "a number", "focal", "scope", "embed", "two heads"],
)
def test_a_recipe_survives_a_round_trip(tables: dict[str, object], make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(**tables)

    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize("value", ["al", 0, -1, True, 1.5])
def test_what_cannot_be_frozen_is_told_in_one_sentence(value: object, make_recipe: MakeRecipe) -> None:
    with pytest.raises(ValidationError) as refusal:
        make_recipe(encoder={"source": "x", "freeze": value})

    (problem,) = refusal.value.errors()
    assert problem["loc"] == ("encoder", "pretrained", "freeze")
    assert problem["msg"] == 'Value error, should be "all", "embeddings" or a number of layers from 1 on'
