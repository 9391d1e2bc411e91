"""How good are a trained embedder's vectors?

Where pairs have scores: do cosines rank the pairs as the scores do (Spearman, Pearson), with bootstrap intervals? Else:
does each text find its positive among all (training/evaluation/retrieval.py)? N rows.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.rows import Splits
from training.evaluation.bootstrap import interval
from training.evaluation.retrieval import judge_retrieval
from training.evaluation.slices import by_slice
from training.metrics import pearson, spearman
from training.modeling import LoadedEncoder, Model
from training.objectives.retrieval import make_pairs
from training.objectives.similarity import cosines_by_size, scores_of

Ints = NDArray[np.int64]


def judge_embedder(model: Model, loaded: LoadedEncoder, splits: Splits, cuts: Sequence[int] = ()) -> dict[str, object]:
    """The figures of whole vectors on test rows; under "cuts" those of vectors cut to their first numbers, by their
    size; under "slices" those by the values of these columns.
    """
    rows = splits.test
    if rows[0].score is None:
        return judge_retrieval(model, loaded, rows, splits.corpus, cuts, splits.slices)
    scores_N = scores_of(rows)
    by_size = cosines_by_size(model, make_pairs(rows, loaded), loaded.pad_id, [None, *cuts])
    found = {size: similarity_figures(cosines_N, scores_N) for size, cosines_N in by_size.items()}
    metrics = {**found[None], **({"cuts": {str(size): found[size] for size in cuts}} if cuts else {})}
    if splits.slices:
        whole_N = by_size[None]
        metrics["slices"] = by_slice(
            splits.slices, rows, lambda inside_N: similarity_figures(whole_N[inside_N], scores_N[inside_N])
        )
    return metrics


def similarity_figures(cosines_N: NDArray[np.float32], scores_N: NDArray[np.float64]) -> dict[str, object]:
    """How alike the orders of cosines and scores are, with intervals."""
    figures: dict[str, Callable[[Ints], float]] = {
        "spearman": lambda rows: spearman(cosines_N[rows], scores_N[rows]),
        "pearson": lambda rows: pearson(cosines_N[rows], scores_N[rows]),
    }
    every_N = np.arange(len(scores_N))
    return {name: figure(every_N) for name, figure in figures.items()} | {
        "intervals": {name: interval(figure, len(scores_N)) for name, figure in figures.items()}
    }
