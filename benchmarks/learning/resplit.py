"""Do conformal sets hold the right label as often as they promise?

Dev and test rows are pooled and split anew, a hundred times, into as many rows each as they were. Temperature and limit
are fitted on the one part, as training does, and sets judged on the other. The rows of the pool are then exchangeable
by construction, so the number of rows held follows the beta-binomial law (arXiv:2107.07511 §3.2), whose standard
deviation over the root of the re-splits is the error of their mean. N rows, C labels.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from app.bundle.manifest import ClassifyHead
from app.bundle.scoring import probabilities
from benchmarks.learning.schema import Coverage
from training.calibrate.conformal import fit_conformal, in_set
from training.calibrate.temperature import fit_temperature

SPLITS = 100


def cover_again(
    training: str, seed: int, predictions: Mapping[str, NDArray[np.float32]], wanted: float, splits: int = SPLITS
) -> Coverage:
    """What sets come to over `splits` re-splits of dev and test.

    Raises:
        ValueError: dev has too few rows for the coverage.
    """
    logits_NC = np.concatenate([predictions["dev_logits"], predictions["test_logits"]])
    right_N = np.concatenate([predictions["dev_targets"], predictions["test_targets"]]).astype(np.int64)
    fitted, judged = len(predictions["dev_targets"]), len(predictions["test_targets"])
    rank = math.ceil((fitted + 1) * wanted)
    if rank > fitted:
        raise ValueError(f"{training}: {fitted} dev rows are too few for sets of {wanted:.0%}")
    chance = np.random.default_rng(seed)
    parts = [_split(logits_NC, right_N, chance.permutation(len(right_N)), fitted, wanted) for _ in range(splits)]
    held, served, labels = np.mean(parts, axis=0)
    law = stats.betabinom(judged, rank, fitted + 1 - rank)
    return Coverage(
        training=training,
        seed=seed,
        wanted=wanted,
        splits=splits,
        fitted_on=fitted,
        judged_on=judged,
        expected=rank / (fitted + 1),
        held=float(held),
        served=float(served),
        labels=float(labels),
        two_errors=float(2 * law.std() / judged / math.sqrt(splits)),
    )


def _split(
    logits_NC: NDArray[np.float32], right_N: NDArray[np.int64], order_N: NDArray[np.int64], fitted: int, wanted: float
) -> tuple[float, float, float]:
    """Held by the limit alone, held as served, labels of a served set."""
    fit, judge = order_N[:fitted], order_N[fitted:]
    names = [str(number) for number in range(logits_NC.shape[1])]
    head = ClassifyHead(
        name="label",
        output="logits",
        problem_type="single_label",
        labels=names,
        temperature=fit_temperature(logits_NC[fit], right_N[fit]),
    )
    (limit,) = fit_conformal(probabilities(head, logits_NC[fit]), right_N[fit], [wanted]).values()
    probs_NC, right = probabilities(head, logits_NC[judge]), right_N[judge]
    rows = np.arange(len(right))
    served_NC = in_set(probs_NC, limit)
    held_N = 1 - probs_NC[rows, right] <= np.float32(limit)
    return float(held_N.mean()), float(served_NC[rows, right].mean()), float(served_NC.sum(axis=1).mean())
