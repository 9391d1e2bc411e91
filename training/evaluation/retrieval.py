"""Does each text find its own among many?

Each row of the test split asks with its text for its positive, among the positives of all rows and, where the recipe
names a corpus, among its texts too. One text is right, so that NDCG is 1 / log2(1 + rank) (Järvelin and Kekäläinen
2002). Intervals are bootstraps over queries. N queries, K other texts, D dimensions.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.bundle.manifest import EMBEDDING_OUTPUT
from app.bundle.scoring import unit
from training.data.collate import encode
from training.data.rows import Row
from training.evaluate import predict_ids
from training.evaluation.bootstrap import interval
from training.evaluation.slices import by_slice
from training.metrics import retrieval_ranks
from training.modeling import LoadedEncoder, Model
from training.objectives.retrieval import make_pairs

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
DEPTH = 10  # MRR@10 and NDCG@10, as MS MARCO and BEIR have them
RECALLS = (1, 5, 10)
BLOCK = 1024  # texts of the corpus that are compared at once


def judge_retrieval(
    model: Model,
    loaded: LoadedEncoder,
    rows: Sequence[Row],
    corpus: Sequence[str],
    cuts: Sequence[int] = (),
    slices: Sequence[str] = (),
) -> dict[str, object]:
    """The figures of whole vectors; under "corpus" those among its texts too, under "cuts" those of vectors cut to
    their first numbers, by their size; under "slices" those by the values of these columns.
    """
    pairs = make_pairs(rows, loaded)
    queries_ND, positives_ND = (
        predict_ids(model, ids, pad_id=loaded.pad_id)[EMBEDDING_OUTPUT] for ids in (pairs.ids, pairs.positive_ids)
    )
    others_KD = None
    if corpus:
        ids = encode(loaded.tokenizer, corpus, loaded.max_tokens)
        others_KD = predict_ids(model, ids, pad_id=loaded.pad_id)[EMBEDDING_OUTPUT]

    def judge(size: int | None) -> dict[str, object]:
        queries, positives = unit(queries_ND[:, :size]), unit(positives_ND[:, :size])
        ranks_N = retrieval_ranks(queries, positives, list(pairs.positives))
        figures = ranking_figures(ranks_N)
        if size is None and slices:
            figures["slices"] = by_slice(slices, rows, lambda inside_N: ranking_figures(ranks_N[inside_N]))
        if others_KD is not None:
            wider_N = ranks_N + rivals(queries, positives, unit(others_KD[:, :size]))
            figures["corpus"] = {"texts": len(set(pairs.positives)) + len(corpus), **ranking_figures(wider_N)}
        return figures

    return {**judge(None), **({"cuts": {str(size): judge(size) for size in cuts}} if cuts else {})}


def ranking_figures(ranks_N: Ints) -> dict[str, object]:
    """The mean of each figure over the queries, and its interval."""
    by_query = query_figures(ranks_N)
    means: Mapping[str, Callable[[Ints], float]] = {
        name: lambda drawn_N, values_N=values_N: float(values_N[drawn_N].mean())  # type: ignore[misc]  # bound now
        for name, values_N in by_query.items()
    }
    every_N = np.arange(len(ranks_N))
    return {name: mean(every_N) for name, mean in means.items()} | {
        "intervals": {name: interval(mean, len(ranks_N)) for name, mean in means.items()}
    }


def query_figures(ranks_N: Ints) -> dict[str, NDArray[np.float64]]:
    """What each query is worth [N] by the rank of its right text, 1 being the first."""
    is_shown_N = ranks_N <= DEPTH
    return {
        **{f"recall_at_{depth}": (ranks_N <= depth).astype(np.float64) for depth in RECALLS},
        "mrr": 1.0 / ranks_N,
        f"mrr_at_{DEPTH}": np.where(is_shown_N, 1.0 / ranks_N, 0.0),
        f"ndcg_at_{DEPTH}": np.where(is_shown_N, 1.0 / np.log2(1.0 + ranks_N), 0.0),
    }


def rivals(queries_ND: Floats, positives_ND: Floats, others_KD: Floats) -> Ints:
    """How many of the other texts are at least as near to each query as its positive is; unit vectors."""
    own_N = (queries_ND * positives_ND).sum(axis=1)
    ahead_N = np.zeros(len(queries_ND), np.int64)
    for first in range(0, len(others_KD), BLOCK):
        ahead_N += (queries_ND @ others_KD[first : first + BLOCK].T >= own_N[:, None]).sum(axis=1)
    return ahead_N
