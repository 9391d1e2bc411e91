"""How good is a head that gives each text a number?

Nothing is fitted after training: a value is what it is. N rows.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.calibrate import Fitted
from training.data.rows import Row
from training.evaluation.bootstrap import interval
from training.evaluation.mistakes import MISTAKES_FILE, worst_values
from training.evaluation.slices import by_slice
from training.evaluation.trained import Judged, TrainedHead
from training.metrics import mean_absolute_error, pearson, r_squared, root_mean_squared_error, spearman
from training.objectives.regression import values
from training.report import VALUES_FILE, values_png

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FIGURES: Mapping[str, Callable[[Floats, Floats], float]] = {
    "mae": mean_absolute_error,
    "rmse": root_mean_squared_error,
    "r_squared": r_squared,
    "pearson": pearson,
    "spearman": spearman,
}


def judge_regression(trained: TrainedHead, _probes: Sequence[Row], figures: Mapping[str, object]) -> Judged:
    """Judge on test; `figures` are those of the run, which stand among the metrics. `mae_of_the_mean` is what always
    answering with the mean of train would reach. No probes: recipes with them are refused.
    """
    test = trained.splits.test
    right_N = values(test)
    found_N = trained.outputs(test)[trained.head(Fitted()).output][:, 0].astype(np.float64)
    metrics: dict[str, object] = {
        **_answer_figures(right_N, found_N),
        "mae_of_the_mean": mean_absolute_error(right_N, np.full(len(test), values(trained.splits.train).mean())),
        **figures,
    }
    if columns := trained.splits.slices:
        metrics["slices"] = by_slice(columns, test, lambda rows: _answer_figures(right_N[rows], found_N[rows]))
    report = {VALUES_FILE: values_png(right_N, found_N)}
    return Judged(Fitted(), metrics, report, {MISTAKES_FILE: worst_values(test, right_N, found_N)})


def _answer_figures(right_N: Floats, found_N: Floats) -> dict[str, object]:
    """Errors and correlations, and the interval of each."""
    intervals = {name: _interval(figure, right_N, found_N) for name, figure in FIGURES.items()}
    return {**{name: figure(right_N, found_N) for name, figure in FIGURES.items()}, "intervals": intervals}


def _interval(figure: Callable[[Floats, Floats], float], right_N: Floats, found_N: Floats) -> list[float]:
    def of(rows: Ints) -> float:
        return figure(right_N[rows], found_N[rows])

    return interval(of, len(right_N))
