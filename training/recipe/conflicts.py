"""Which settings of a recipe disagree?

Each is fine alone; together one of them would do nothing, or do what nobody meant. Both are named, and why.
"""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from training.recipe.data import Columns, Data, DigitsData, reads_vectors
from training.recipe.few_shot import few_shot_conflicts
from training.recipe.heads import HeadTable, RowKind
from training.recipe.losses import BATCH_LOSSES, SCORED_LOSSES
from training.recipe.more_heads import of_several_heads

if TYPE_CHECKING:
    from training.recipe.run import Recipe


Conflict = tuple[bool, str, str, str]  # is it there, one setting, the other, why


def conflicts(recipe: "Recipe") -> Iterator[str]:
    """One line for each pair of settings that disagree."""
    encoder, optim, budget, hardware = recipe.encoder, recipe.optim, recipe.budget, recipe.hardware
    loss = recipe.loss.name if recipe.loss else ""
    share = recipe.loss.contrastive_share if recipe.loss else 0.0
    is_embedder, cuts = recipe.data is not None and recipe.head.task == "embed", getattr(recipe.head, "cuts", [])
    columns = getattr(recipe.data, "columns", Columns())
    learns = recipe.teacher.learns if recipe.teacher else ""
    cached = recipe.loss.cached_rows if recipe.loss else None
    accumulates, is_frozen = budget.accumulate > 1, getattr(encoder, "freeze", None) == "all"
    corpus = getattr(recipe.data, "corpus", None)
    found: list[Conflict] = [
        (
            accumulates and loss in BATCH_LOSSES,
            f"budget.accumulate = {budget.accumulate}",
            f'loss.name = "{loss}"',
            "a part of a batch has fewer rows to compare, so the result would be another; loss.cached_rows = "
            f"{max(1, budget.batch_size // budget.accumulate)} takes as little memory and has the same result",
        ),
        (
            accumulates and share > 0,
            f"budget.accumulate = {budget.accumulate}",
            f"loss.contrastive_share = {share}",
            "a part of a batch has fewer rows to compare, so the result would be another; lower budget.batch_size",
        ),
        (
            is_embedder and loss in SCORED_LOSSES and columns.score is None,
            f'loss.name = "{loss}"',
            "data.columns without score",
            "it learns from a number for each pair; name its column",
        ),
        (
            is_embedder and loss not in SCORED_LOSSES and columns.score is not None,
            f'loss.name = "{loss}"',
            f'data.columns.score = "{columns.score}"',
            f"it takes every pair for a match, whatever its score; take {' or '.join(map(repr, SCORED_LOSSES))}",
        ),
        (
            loss in SCORED_LOSSES and columns.negative is not None,
            f'loss.name = "{loss}"',
            f'data.columns.negative = "{columns.negative}"',
            "it learns from pairs and their scores alone",
        ),
        (
            loss == "angle" and any(size % 2 for size in cuts),
            'loss.name = "angle"',
            f"head.cuts = {cuts}",
            "it halves each vector, so the sizes must be even",
        ),
        (
            learns == "logits" and recipe.head.task != "classify",
            'teacher.learns = "logits"',
            f'head.task = "{recipe.head.task}"',
            'it has no logits; take "vectors"',
        ),
        (
            learns == "vectors" and is_frozen,
            'teacher.learns = "vectors"',
            'encoder.freeze = "all"',
            "vectors that do not move learn from nobody",
        ),
        (
            (cached or 0) >= budget.batch_size,
            f"loss.cached_rows = {cached}",
            f"budget.batch_size = {budget.batch_size}",
            "a batch would be encoded at once, as without it",
        ),
        (
            budget.accumulate > budget.batch_size,
            f"budget.accumulate = {budget.accumulate}",
            f"budget.batch_size = {budget.batch_size}",
            "a part of a batch has at least one row",
        ),
        (
            is_frozen and recipe.head.task == "embed",
            'encoder.freeze = "all"',
            'head.task = "embed"',
            "nothing would be left to train",
        ),
        (
            is_frozen and getattr(encoder, "checkpointing", False),
            'encoder.freeze = "all"',
            "encoder.checkpointing = true",
            "a frozen encoder has no way back, so there is nothing to keep or to compute again",
        ),
        (
            is_frozen and optim.layer_decay < 1,
            'encoder.freeze = "all"',
            f"optim.layer_decay = {optim.layer_decay}",
            "a frozen encoder has no rate",
        ),
        (
            is_frozen and optim.name == "muon",
            'encoder.freeze = "all"',
            'optim.name = "muon"',
            "muon moves the matrices of the encoder",
        ),
        (
            getattr(encoder, "lora", None) is not None and getattr(encoder, "freeze", None) is not None,
            "encoder.lora",
            f"encoder.freeze = {json.dumps(getattr(encoder, 'freeze', None))}",
            "with adapters all other weights of the encoder are frozen; leave one out",
        ),
        (
            corpus is not None and recipe.head.task != "embed",
            f'data.corpus = "{corpus}"',
            f'head.task = "{recipe.head.task}"',
            "a corpus is where an embedder looks for texts",
        ),
        (
            corpus is not None and loss in SCORED_LOSSES,
            f'data.corpus = "{corpus}"',
            f'loss.name = "{loss}"',
            "pairs with scores are judged by their order, and nothing is looked for",
        ),
        (
            hardware.precision == "fp16" and hardware.device == "cpu",
            'hardware.precision = "fp16"',
            'hardware.device = "cpu"',
            'fp16 trains on CUDA only; take "bf16"',
        ),
    ]
    rules = (few_shot_conflicts, _of_problem_types, of_several_heads, _of_vectors)
    for is_there, one, other, why in [*found, *(conflict for rule in rules for conflict in rule(recipe))]:
        if is_there:
            yield f"{one} and {other} disagree: {why}"


def _of_problem_types(recipe: "Recipe") -> Iterator[Conflict]:
    """What is for one label a text is not for several, or for a number."""
    head, data = recipe.head, recipe.data
    readers = [head.rows, *(more.head.rows for more in recipe.more_heads if more.column is not None)]
    yield from _of_separator(head, data, "", readers)
    yield from _of_problem_type(head, data, "")
    for number, more in enumerate(recipe.more_heads):
        at = f"more_heads.{number}."
        yield from _of_separator(more.head, more.data, at, [more.head.rows])
        yield from _of_problem_type(more.head, more.data, at)
    if head.rows in ("multi_label", "regression"):
        name = f'head.problem_type = "{head.rows}"'
        learns_logits = recipe.teacher is not None and recipe.teacher.learns == "logits"
        yield learns_logits, 'teacher.learns = "logits"', name, 'it teaches which one label is right; take "vectors"'
        yield recipe.probes is not None, f'probes = "{recipe.probes}"', name, "probes have one label each"
        yield recipe.baselines, "baselines = true", name, "the baselines give one label a text"


def _of_separator(head: HeadTable, data: Data | None, at: str, readers: Sequence[RowKind]) -> Iterator[Conflict]:
    """`readers`: what the heads that read these rows take from them."""
    if (separator := getattr(data, "label_separator", None)) is not None:
        kind = f'problem_type = "{head.rows}"' if head.rows == "regression" else f'task = "{head.task}"'
        why = 'it parts the labels of a text, which only head.problem_type = "multi_label" has'
        yield "multi_label" not in readers, f'{at}data.label_separator = "{separator}"', f"{at}head.{kind}", why


def _of_problem_type(task: HeadTable, data: Data | None, at: str) -> Iterator[Conflict]:
    """`at`: the place of the head in the recipe, "" or "more_heads.0."."""
    if task.rows not in ("multi_label", "regression"):
        return
    many, head = task.rows == "multi_label", f'{at}head.problem_type = "{task.rows}"'
    per_label = getattr(data, "per_label", None)
    why = "its rows have no one label to draw them by"
    yield per_label is not None, f"{at}data.per_label = {per_label}", head, why
    has_dev = getattr(data, "has_dev", True)
    yield many and not has_dev, f"{at}data.dev_share = 0", head, "there are no dev rows to fit thresholds on"
    scope, coverages = getattr(task, "out_of_scope", None), "coverages" in task.changed()
    yield (
        scope is not None,
        f"{at}head.out_of_scope",
        head,
        ("a text that fits no label gets none of them" if many else "a value has no scope"),
    )
    yield (
        coverages,
        f"{at}head.coverages",
        head,
        ("a set of labels is what it answers already" if many else "there are no labels to make sets of"),
    )
    yield (
        getattr(data, "one_label_only", False),
        f"{at}data.one_label_only = true",
        head,
        ("it takes rows of several labels" if many else "its rows have no labels"),
    )
    source = data.source if data is not None else ""
    has_one = source in ("home-assistant-intents", "digits")
    yield has_one, f'{at}data.source = "{source}"', head, "its rows have one label each"


def _of_vectors(recipe: "Recipe") -> Iterator[Conflict]:
    """What disagrees where rows are numbers, or where the encoder reads nothing else."""
    data, kind = recipe.data, recipe.encoder.kind
    named = f'encoder.kind = "{kind}"'
    if data is None:
        return
    if not reads_vectors(data):
        yield kind == "mlp", named, f'data.source = "{data.source}"', "it reads numbers; name their data.columns.vector"
        return
    rows = 'data.source = "digits"' if isinstance(data, DigitsData) else "data.columns.vector"
    yield kind == "pretrained", named, rows, "it reads texts; take mlp, rnn, lstm, gru or transformer"
    yield (
        recipe.head.task == "embed",
        'head.task = "embed"',
        rows,
        ("an embedder learns from pairs of texts; a classifier of numbers gives vectors, too"),
    )
    yield "tokenizer" in recipe.encoder.model_fields_set, "encoder.tokenizer", rows, "numbers have no tokens"
    yield recipe.teacher is not None, "teacher", rows, "it reads texts"
    yield recipe.probes is not None, "probes", rows, "probes are texts"
    if isinstance(data, DigitsData):
        single = data.rows == "vectors"
        shape = f'data.rows = "{data.rows}"'
        yield single != (kind == "mlp"), named, shape, "an mlp reads one vector a row, the others sequences of them"
