"""What should a person know before using this model?

The model card is the manifest in words; it says nothing that the manifest does not. For imports, too.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from app.bundle.manifest import Agreement, ClassifyHead, Manifest, Parity, pooling_name
from training.data.checks import WHAT
from training.data.findings import Check

BASELINES = {
    "linear_svm": "a linear SVM over the numbers",
    "tfidf_svm": "tf-idf and a linear SVM",
    "frozen_logistic_regression": "the encoder as it was, with logistic regression",
    "encoder_before_training": "the encoder before training",
}
SCOPE_SCORES = {
    "max_probability": "best probability",
    "energy": "energy score, T · log Σ exp(logit / T),",
    "mahalanobis": "score, minus the squared Mahalanobis distance of its vector to the nearest class,",
}
FIGURES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "macro_average_precision": "Macro average precision",
    "exact_match": "All labels of a text right",
    "mae": "Mean absolute error",
    "rmse": "Root of the mean squared error",
    "mae_of_the_mean": "Mean absolute error of always answering with the mean of train",
    "r_squared": "Share of the variance explained (R²)",
    "pearson": "Pearson correlation, of pairs that of cosine and score",
    "spearman": "Spearman correlation, of pairs that of cosine and score",
    "brier": "Brier score",
    "ece_before": "Calibration error (ECE) before temperature scaling",
    "ece_after": "Calibration error (ECE) after temperature scaling",
    "recall_at_1": "Recall at 1",
    "recall_at_5": "Recall at 5",
    "recall_at_10": "Recall at 10",
    "mrr": "Mean reciprocal rank",
    "mrr_at_10": "Mean reciprocal rank at 10",
    "ndcg_at_10": "NDCG at 10",
}


def card(manifest: Manifest) -> bytes:
    """MODEL_CARD.md."""
    parts = (_head, _use, _data, _figures, _slices, _certainty, _limits, _origin)
    return ("\n\n".join("\n".join(lines) for part in parts if (lines := list(part(manifest)))) + "\n").encode()


def _head(manifest: Manifest) -> Iterator[str]:
    yield f"# {manifest.name}"
    if description := _recipe(manifest).get("description"):
        yield ""
        yield str(description)


def _use(manifest: Manifest) -> Iterator[str]:
    yield "## Use"
    for head in manifest.heads:
        if isinstance(head, ClassifyHead):
            yield f"- `POST /classify`, head `{head.name}`: {_gives(head)}."
            if head.out_of_scope:
                name = SCOPE_SCORES[head.out_of_scope.score]
                yield f"  A text whose {name} is under {head.out_of_scope.threshold:.4g} is out of scope."
        else:
            length = "length 1" if head.normalize else "their own length"
            yield f"- `POST /embed`, head `{head.name}`: vectors of {head.dimensions} numbers, by default of {length}."
    pooling = " → ".join([pooling_name(manifest.pooling), *_strings(manifest.training.get("after_pooling"))])
    yield (
        f"- It reads {_reads(manifest)}; pooling: {pooling}."
        if not _is_single(manifest)
        else f"- It reads {_reads(manifest)}."
    )
    if manifest.prompts:
        yield f"- Prompts: {', '.join(f'`{name}`' for name in manifest.prompts)}."
    yield f"- Vectors may share an index with those of other bundles of space `{manifest.space}`, and of no other."


def _reads(manifest: Manifest) -> str:
    if (like := manifest.vectors) is None:
        return f"{manifest.max_tokens} tokens of a text, special tokens included"
    if not like.is_sequence:
        return f"vectors of {like.width} numbers as they were measured, which it standardises itself"
    return f"sequences of up to {manifest.max_tokens} vectors of {like.width} numbers, which it standardises itself"


def _is_single(manifest: Manifest) -> bool:
    return manifest.vectors is not None and not manifest.vectors.is_sequence


def _gives(head: ClassifyHead) -> str:
    if head.problem_type == "multi_label":
        return f"any of {len(head.labels)} labels, each from a threshold of its own, with a probability"
    if head.problem_type == "regression":
        return "a number"
    return f"one of {len(head.labels)} labels, with a probability"


def _data(manifest: Manifest) -> Iterator[str]:
    yield "## Data"
    if not _is_trained(manifest):
        yield f"Nothing was trained here: the weights are those of `{manifest.trunk.source}`, unchanged, and so is what"
        yield "their publisher says about the data they were trained on."
        return
    yield str(manifest.training.get("origin") or "The recipe does not say who made the data.")
    yield ""
    counts = cast("Mapping[str, Mapping[str, int]]", manifest.training["counts"])
    for split, count in counts.items():
        dropped = f"{count['deduplicated']:,} deduplicated, {count.get('left_out', 0):,} left out"
        yield f"- {split}: {count['used']:,} rows used of {count['rows_in']:,} ({dropped})"
    for name, facts in cast("Mapping[str, Mapping[str, Any]]", manifest.training.get("heads") or {}).items():
        if facts["data"] != manifest.training["data"]:
            rows_used = ", ".join(f"{split} {count['used']:,}" for split, count in facts["counts"].items())
            yield f"- Head `{name}` has rows of its own: {rows_used}. {facts['origin']}".rstrip()
    for check, rows in cast("Mapping[Check, int]", manifest.metrics.get("findings") or {}).items():
        if rows:
            yield f"- {WHAT[check][0].upper()}{WHAT[check][1:]}: {rows:,}"


def _figures(manifest: Manifest) -> Iterator[str]:
    yield "## Figures on the test split"
    found = {name: manifest.metrics[name] for name in FIGURES if name in manifest.metrics}
    if not found:
        yield "None: this bundle was made without data of its own."
        return
    yield "| | this model |" + "".join(f" {BASELINES.get(name, name)} |" for name in _baselines(manifest))
    yield "|---|---|" + "---|" * len(_baselines(manifest))
    for name, value in found.items():
        others = (one.get(name) for one in _baselines(manifest).values())
        yield f"| {FIGURES[name]} | {_number(value)} |" + "".join(f" {_number(other)} |" for other in others)
    if at_half := cast("Mapping[str, float]", manifest.metrics.get("at_half") or {}):
        yield ""
        yield f"At one threshold of 0.5 for all labels: macro-F1 {_number(at_half['macro_f1'])}, micro-F1 "
        yield f"{_number(at_half['micro_f1'])}. The thresholds are fitted on dev; `per_class` in the report has them."
    for name, figures in cast("Mapping[str, Mapping[str, object]]", manifest.metrics.get("heads") or {}).items():
        yield ""
        rows = cast("Mapping[str, int]", figures["rows"])
        yield f"Head `{name}`, on {rows['test']:,} rows: " + "; ".join(
            f"{FIGURES[figure]} {_number(figures[figure])}" for figure in FIGURES if figure in figures
        )
    if corpus := cast("Mapping[str, Any]", manifest.metrics.get("corpus") or {}):
        shown = (f"{FIGURES[name].lower()} {_number(corpus[name])}" for name in FIGURES if name in corpus)
        yield ""
        yield f"Among the {corpus['texts']:,} texts of a corpus: {', '.join(shown)}."
    if probes := cast("Mapping[str, Any]", manifest.metrics.get("probes") or {}):
        yield ""
        yield f"On {probes['rows']} sentences written apart from the data: accuracy {_number(probes['accuracy'])}."


def _slices(manifest: Manifest) -> Iterator[str]:
    found = cast("Mapping[str, list[Mapping[str, Any]]]", manifest.metrics.get("slices") or {})
    for column, slices in found.items():
        names = [name for name in ("accuracy", "macro_f1", "recall_at_1", "mrr") if name in slices[0]]
        yield f"## By {column}, on the test split"
        yield "| " + " | ".join([column, "rows", *(FIGURES[name] for name in names)]) + " |"
        yield "|---" * (2 + len(names)) + "|"
        for one in slices:
            cells = [f"{_number(one[name])} ({' to '.join(map(_number, one['intervals'][name]))})" for name in names]
            few = " (few)" if one["is_few"] else ""
            value = str(one["value"]).replace("|", "\\|")
            yield f"| {value} | {one['rows']:,}{few} | {' | '.join(cells)} |"
        yield ""
        yield "In brackets: 95 % intervals."


def _certainty(manifest: Manifest) -> Iterator[str]:
    sets = cast("Mapping[str, Mapping[str, float]]", manifest.metrics.get("conformal") or {})
    scope = cast("Mapping[str, Any]", manifest.metrics.get("out_of_scope") or {})
    calibrated_on = str(manifest.metrics.get("calibrated_on", ""))
    if sets or scope or calibrated_on:
        yield "## Certainty, on the test split"
    if calibrated_on:
        yield f"- Its probabilities are calibrated on {calibrated_on}."
    for coverage, figures in sets.items():
        yield (
            f"- Sets of labels made to hold the right one for {float(coverage):.0%} of texts hold it for "
            f"{figures['held']:.1%}, with {figures['labels']:.2f} labels on average."
        )
    if scope:
        yield f"- Out of scope by {scope['score']}: {scope['false_alarms']:.1%} of texts with a label are turned away"
        if "recall" in scope:
            yield f"  and {scope['recall']:.1%} of those without one are found; AUROC {_number(scope['auroc'])}."


def _limits(manifest: Manifest) -> Iterator[str]:
    yield "## Limits"
    if _is_trained(manifest):
        yield "- The figures hold for texts like those of the test split; measure on your own before you rely on them."
    if any(isinstance(head, ClassifyHead) and head.problem_type == "single_label" for head in manifest.heads):
        yield "- It always prefers some label: texts of another kind get one too, often with a low probability."
    yield "- Longer texts are refused, or cut where the request says so; what is cut away has no influence."
    yield "- It has the biases of its data and of the encoder under it; it is no ground for decisions about people."


def _origin(manifest: Manifest) -> Iterator[str]:
    yield "## Origin"
    parity = next(figures for figures in manifest.parity.values() if isinstance(figures, Parity))
    trunk = manifest.trunk
    yield f"- Encoder: {trunk.architecture} from `{trunk.source}`; sha256 of the weights `{trunk.sha256}`"
    yield f"- Exported by {manifest.training['exporter']}; made {manifest.created}"
    yield (
        f"- Against {manifest.training.get('reference') or 'the torch model'} over {parity.rows} rows: "
        + ", ".join(
            f"{what} within {value:.1e}"
            for what, value in (("vectors", parity.vector_max_abs_diff), ("logits", parity.logits_max_abs_diff))
            if value is not None
        )
    )
    for path, figures in manifest.parity.items():
        if isinstance(figures, Agreement):
            yield (
                f"- `{path}` against the fp32 graph over {figures.rows} rows: cosine {figures.mean_cosine:.4f} in the"
                f" mean, {figures.worst_cosine:.4f} at worst"
                + (f"; {figures.labels_equal:.2%} of labels equal" if figures.labels_equal is not None else "")
            )
    for name, reason in cast("Mapping[str, str]", manifest.training.get("refused") or {}).items():
        yield f"- No {name}: {reason}"
    yield "- Recipe, seed, data digests and library versions: `manifest.json`"


def _strings(value: object) -> list[str]:
    return cast("list[str]", value or [])


def _recipe(manifest: Manifest) -> Mapping[str, object]:
    return cast("Mapping[str, object]", manifest.training["recipe"])


def _is_trained(manifest: Manifest) -> bool:
    return "counts" in manifest.training


def _baselines(manifest: Manifest) -> Mapping[str, Mapping[str, object]]:
    return cast("Mapping[str, Mapping[str, object]]", manifest.metrics.get("baselines") or {})


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "–" if value is None else str(value)
