"""How good are a trained embedder's vectors?

Where pairs have scores: do cosines rank the pairs as the scores do (Spearman, Pearson), with bootstrap intervals? Else:
does each text find its positive among all (MRR, recall at 1)? N rows.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.rows import Row
from training.evaluation.bootstrap import interval
from training.metrics import pearson, spearman
from training.modeling import LoadedEncoder, Model
from training.objectives.retrieval import make_pairs, scores_by_size
from training.objectives.similarity import cosines_by_size, scores_of

Ints = NDArray[np.int64]


def judge_embedder(
    model: Model, loaded: LoadedEncoder, rows: Sequence[Row], cuts: Sequence[int] = ()
) -> dict[str, object]:
    """The figures of whole vectors; under "cuts" those of vectors cut to their first numbers, by their size."""
    sizes, pairs = [None, *cuts], make_pairs(rows, loaded)
    found: Mapping[int | None, Mapping[str, object]]
    if rows[0].score is None:
        found = scores_by_size(model, pairs, loaded.pad_id, sizes)
    else:
        scores_N = scores_of(rows)
        by_size = cosines_by_size(model, pairs, loaded.pad_id, sizes)
        found = {size: _similarity_figures(cosines_N, scores_N) for size, cosines_N in by_size.items()}
    return {**found[None], **({"cuts": {str(size): found[size] for size in cuts}} if cuts else {})}


def _similarity_figures(cosines_N: NDArray[np.float32], scores_N: NDArray[np.float64]) -> dict[str, object]:
    figures: dict[str, Callable[[Ints], float]] = {
        "spearman": lambda rows: spearman(cosines_N[rows], scores_N[rows]),
        "pearson": lambda rows: pearson(cosines_N[rows], scores_N[rows]),
    }
    every_N = np.arange(len(scores_N))
    return {name: figure(every_N) for name, figure in figures.items()} | {
        "intervals": {name: interval(figure, len(scores_N)) for name, figure in figures.items()}
    }
