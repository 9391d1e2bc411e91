"""How good is a classifier that gives each text any number of labels, and how sure may it be?

Temperature and thresholds are fitted on dev rows, everything is judged on test rows. The figures at one threshold of
0.5 stand beside those at the fitted ones. N rows, C labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from app.bundle.scoring import MULTI_LABEL_THRESHOLD, probabilities, thresholds
from training.calibrate import Fitted
from training.calibrate.temperature import fit_label_temperature
from training.calibrate.thresholds import fit_thresholds
from training.data.rows import Row, Splits
from training.evaluation.bootstrap import interval
from training.evaluation.mistakes import MISTAKES_FILE, by_length, worst_label_sets
from training.evaluation.slices import by_slice
from training.evaluation.trained import Judged, TrainedHead
from training.metrics import (
    binned,
    expected_calibration_error,
    label_figures,
    macro_average_precision,
    macro_f1,
    micro_f1,
)
from training.objectives.multi_label import label_sets
from training.report import RELIABILITY_FILE, reliability_png

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def judge_multi_label(trained: TrainedHead, _probes: Sequence[Row], figures: Mapping[str, object]) -> Judged:
    """Fit on dev, judge on test; `figures` are those of the run, which stand among the metrics. No probes: recipes with
    them are refused.
    """
    splits = trained.splits
    fitted = _fit(trained)
    plain, served = trained.head(Fitted()), trained.head(fitted)
    right_NC = label_sets(splits.test, splits.labels)
    logits_NC = trained.outputs(splits.test)[served.output]
    probs_NC = probabilities(served, logits_NC)
    given_NC = probs_NC >= thresholds(served)
    raw_NC = probabilities(plain, logits_NC)
    before, after = binned(raw_NC.ravel(), right_NC.ravel()), binned(probs_NC.ravel(), right_NC.ravel())
    metrics: dict[str, object] = {
        **_answer_figures(given_NC, right_NC),
        "at_half": _plain_figures(probs_NC >= MULTI_LABEL_THRESHOLD, right_NC),
        "macro_average_precision": macro_average_precision(probs_NC, right_NC),
        "exact_match": float(_is_exact(given_NC, right_NC).mean()),
        "ece_before": expected_calibration_error(before),
        "ece_after": expected_calibration_error(after),
        "brier": float(((probs_NC - right_NC) ** 2).mean()),
        "temperature": fitted.temperature,
        **figures,
        "by_length": by_length(trained.lengths(splits.test), _is_exact(given_NC, right_NC), "exact_match"),
        **_slices(splits, given_NC, right_NC),
        "per_class": {
            label: {**asdict(one), "threshold": fitted.thresholds[label]}
            for label, one in zip(served.labels, label_figures(given_NC, right_NC), strict=True)
        },
    }
    report = {RELIABILITY_FILE: reliability_png(before, after, fitted.temperature)}
    mistakes = worst_label_sets(splits.test, probs_NC, given_NC, right_NC, served.labels)
    return Judged(fitted, metrics, report, {MISTAKES_FILE: mistakes})


def _fit(trained: TrainedHead) -> Fitted:
    """What dev rows say of the scores."""
    splits = trained.splits
    right_NC = label_sets(splits.dev, splits.labels)
    logits_NC = trained.outputs(splits.dev)[trained.head(Fitted()).output]
    temperature = fit_label_temperature(logits_NC, right_NC)
    probs_NC = probabilities(trained.head(Fitted(temperature)), logits_NC)
    return Fitted(temperature, thresholds=fit_thresholds(probs_NC, right_NC, splits.labels))


def _answer_figures(given_NC: Bools, right_NC: Bools) -> dict[str, object]:
    """Both F1, and the interval of each."""
    figures: dict[str, Callable[[Ints], float]] = {
        "macro_f1": lambda rows: macro_f1(label_figures(given_NC[rows], right_NC[rows])),
        "micro_f1": lambda rows: micro_f1(given_NC[rows], right_NC[rows]),
    }
    return _plain_figures(given_NC, right_NC) | {
        "intervals": {name: interval(figure, len(right_NC)) for name, figure in figures.items()}
    }


def _slices(splits: Splits, given_NC: Bools, right_NC: Bools) -> dict[str, object]:
    """Figures by the values of columns, if there are any."""
    if not splits.slices:
        return {}
    return {
        "slices": by_slice(splits.slices, splits.test, lambda rows: _answer_figures(given_NC[rows], right_NC[rows]))
    }


def _plain_figures(given_NC: Bools, right_NC: Bools) -> dict[str, object]:
    return {"macro_f1": macro_f1(label_figures(given_NC, right_NC)), "micro_f1": micro_f1(given_NC, right_NC)}


def _is_exact(given_NC: Bools, right_NC: Bools) -> Bools:
    exact_N: Bools = (given_NC == right_NC).all(axis=1)
    return exact_N
