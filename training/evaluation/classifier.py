"""How good is a classifier that gives each text one label, and how sure may it be?

What scores mean is fitted on dev rows, everything is judged on test rows, by the functions that make every answer of
the service. N rows, C labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead, OutOfScope, ScopeScore
from app.bundle.scope import Statistics
from app.bundle.scoring import probabilities
from training.calibrate import Fitted
from training.calibrate.conformal import fit_conformal, set_figures
from training.calibrate.scope import Parts, choose_score, fit_statistics, scope_figures, threshold_for
from training.calibrate.temperature import fit_temperature
from training.data.rows import Row, Splits
from training.evaluation.bootstrap import interval
from training.evaluation.mistakes import MISTAKES_FILE, by_length, worst_mistakes
from training.evaluation.slices import by_slice
from training.evaluation.trained import Judged, TrainedHead
from training.metrics import (
    ClassFigures,
    accuracy,
    brier_score,
    class_figures,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    reliability,
)
from training.objectives.classification import targets
from training.recipe.heads import ScopeTable
from training.report import CONFUSION_FILE, RELIABILITY_FILE, confusion_png, reliability_png

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Outputs = Mapping[str, Floats]
# Rows that were trained on are no substitute: their probabilities are better than those of any other text.
NOTHING = "nothing: there are no dev rows, so the temperature is 1 and no conformal sets are offered"


def judge_single_label(classifier: TrainedHead, probes: Sequence[Row], figures: Mapping[str, object]) -> Judged:
    """Fit on dev, judge on test; `figures` are those of the run, which stand among the metrics."""
    splits, plain = classifier.splits, classifier.head(Fitted())
    fitted, scope_on_dev = _fit(classifier)
    served = classifier.head(fitted)
    test = _parts(classifier, "test")
    right_N = _targets(classifier, splits.test)
    logits_NC = test.inside[plain.output]
    probs_NC = probabilities(served, logits_NC)
    before, after = reliability(probabilities(plain, logits_NC), right_N), reliability(probs_NC, right_N)
    metrics: dict[str, object] = {
        **_answer_figures(probs_NC, right_N),
        "ece_before": expected_calibration_error(before),
        "ece_after": expected_calibration_error(after),
        "brier": brier_score(probs_NC, right_N),
        "temperature": fitted.temperature,
        "calibrated_on": f"dev, {len(splits.dev):,} rows" if splits.dev else NOTHING,
        "conformal": set_figures(probs_NC, right_N, fitted.conformal),
        **figures,
        "by_length": by_length(classifier.lengths(splits.test), probs_NC.argmax(axis=1) == right_N),
        **_slices(splits, probs_NC, right_N),
        "per_class": dict(zip(plain.labels, map(asdict, _classes(probs_NC, right_N)), strict=True)),
    }
    if fitted.out_of_scope is not None:
        metrics["out_of_scope"] = {
            "score": fitted.out_of_scope.score,
            **scope_figures(fitted.out_of_scope, served, test, fitted.statistics),
            **({"auroc_on_dev": scope_on_dev} if scope_on_dev else {}),
        }
    if probes:
        probe_probs_PC = probabilities(served, classifier.outputs(probes)[plain.output])
        metrics["probes"] = _probe_figures(probes, probe_probs_PC, plain.labels)
    report = {
        CONFUSION_FILE: confusion_png(_confusion(probs_NC, right_N), plain.labels),
        RELIABILITY_FILE: reliability_png(before, after, fitted.temperature),
    }
    mistakes = worst_mistakes(splits.test, probs_NC, right_N, plain.labels)
    return Judged(fitted, metrics, report, {MISTAKES_FILE: mistakes})


def _answer_figures(probs_NC: Floats, right_N: Ints) -> dict[str, object]:
    """Accuracy and macro-F1, and the interval of each."""
    best_N = probs_NC.argmax(axis=1)
    figures: dict[str, Callable[[Ints], float]] = {
        "accuracy": lambda rows: accuracy(right_N[rows], best_N[rows]),
        "macro_f1": lambda rows: macro_f1(_classes(probs_NC[rows], right_N[rows])),
    }
    every_N = np.arange(len(right_N))
    return {name: figure(every_N) for name, figure in figures.items()} | {
        "intervals": {name: interval(figure, len(right_N)) for name, figure in figures.items()}
    }


def _slices(splits: Splits, probs_NC: Floats, right_N: Ints) -> dict[str, object]:
    """Figures by the values of columns, if there are any."""
    if not splits.slices:
        return {}
    figures = by_slice(splits.slices, splits.test, lambda rows: _answer_figures(probs_NC[rows], right_N[rows]))
    return {"slices": figures}


def _confusion(probs_NC: Floats, right_N: Ints) -> Ints:
    return confusion_matrix(right_N, probs_NC.argmax(axis=1), probs_NC.shape[1])


def _classes(probs_NC: Floats, right_N: Ints) -> list[ClassFigures]:
    return class_figures(_confusion(probs_NC, right_N))


def _fit(classifier: TrainedHead) -> tuple[Fitted, dict[ScopeScore, float]]:
    """What dev rows say of the scores, and the AUROC of each score of scope on them."""
    task, output = classifier.task, classifier.head(Fitted()).output
    if not classifier.splits.dev:
        return _fit_nothing(classifier), {}
    dev = _parts(classifier, "dev")
    right_N = _targets(classifier, classifier.splits.dev)
    temperature = fit_temperature(dev.inside[output], right_N)
    served = classifier.head(Fitted(temperature))
    conformal = fit_conformal(probabilities(served, dev.inside[output]), right_N, task.coverages)
    if task.out_of_scope is None:
        return Fitted(temperature, conformal), {}
    rule, aurocs, statistics = _fit_scope(classifier, task.out_of_scope, served, dev)
    return Fitted(temperature, conformal, rule, statistics), aurocs


def _fit_nothing(classifier: TrainedHead) -> Fitted:
    """Without dev rows: the rule of scope with the threshold that the recipe, which sees to it, gives."""
    table = classifier.task.out_of_scope
    if table is None or table.score is None or table.threshold is None:
        return Fitted()
    rule = OutOfScope(score=table.score, threshold=table.threshold)
    return Fitted(out_of_scope=rule, statistics=_statistics(classifier) if rule.score == "mahalanobis" else None)


def _statistics(classifier: TrainedHead) -> Statistics:
    train = classifier.splits.train
    vectors_ND = classifier.outputs(train)[EMBEDDING_OUTPUT]
    return fit_statistics(vectors_ND, _targets(classifier, train), len(classifier.splits.labels))


def _fit_scope(
    classifier: TrainedHead, table: ScopeTable, served: ClassifyHead, dev: Parts
) -> tuple[OutOfScope, dict[ScopeScore, float], Statistics | None]:
    statistics = _statistics(classifier) if table.score in (None, "mahalanobis") else None
    score, aurocs = (table.score, {}) if table.score else choose_score(served, dev, statistics)
    threshold = table.threshold
    if threshold is None:
        threshold = threshold_for(score, served, dev, statistics, table.false_alarms)
    rule = OutOfScope(score=score, threshold=threshold)
    return rule, aurocs, statistics if rule.score == "mahalanobis" else None


def _targets(classifier: TrainedHead, rows: Sequence[Row]) -> Ints:
    return np.array(targets(rows, classifier.splits.labels), np.int64)


def _parts(classifier: TrainedHead, split: Literal["dev", "test"]) -> Parts:
    """Outputs for rows of the labels and, if there are any, for rows of none."""
    splits = classifier.splits
    inside, outside = splits.dev if split == "dev" else splits.test, splits.outside.get(split, [])
    return Parts(classifier.outputs(inside), classifier.outputs(outside) if outside else None)


def _probe_figures(probes: Sequence[Row], probs_NC: Floats, labels: Sequence[str]) -> dict[str, object]:
    """How many probes come out right, and each that does not."""
    best_N = probs_NC.argmax(axis=1)
    wrong = [
        {"text": row.text, "label": row.label, "predicted": labels[best], "score": round(float(probs_C[best]), 4)}
        for row, best, probs_C in zip(probes, best_N, probs_NC, strict=True)
        if labels[best] != row.label
    ]
    return {"rows": len(probes), "accuracy": 1 - len(wrong) / len(probes), "wrong": wrong}
