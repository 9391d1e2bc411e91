"""Which numbers hurt a model of vectors, and which stand for all others?

The mean of its training rows, values far from it on both sides, zeros as far as they go, and random ones. T vectors of
a row, F values of a vector.
"""

from collections.abc import Sequence

import numpy as np

from app.bundle.vectors import Floats, VectorInput

FAR = 8.0  # standard deviations: thousands of them, as zeros may be, are more than float32 tells apart in attention
SPREAD = 1.5  # of random rows: somewhat more than the training's
GOLDEN_LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34)
SEED = 7


def hard_vectors(like: VectorInput, max_tokens: int) -> list[Floats]:
    """More than 32 rows [T, F]; of sequences, of many lengths up to `max_tokens`."""
    mean_F, std_F = np.array(like.mean, np.float32), np.array(like.std, np.float32)
    lowest_F, highest_F = mean_F - FAR * std_F, mean_F + FAR * std_F
    chosen = [mean_F, lowest_F, highest_F, *(np.clip(np.full_like(mean_F, one), lowest_F, highest_F) for one in (0, 1))]
    chosen += [mean_F + FAR * std_F * np.eye(like.width, dtype=np.float32)[place % like.width] for place in range(4)]
    lengths = sorted({*(min(length, max_tokens) for length in GOLDEN_LENGTHS), max_tokens})
    rows = [np.tile(one_F, (length, 1)) for one_F in chosen for length in (lengths[0], lengths[-1])]
    count = -(-32 // len(lengths)) * len(lengths)
    return _once([*rows, *random_rows(like, (lengths * count)[:count], seed=SEED)])


def random_rows(like: VectorInput, lengths: Sequence[int], *, seed: int) -> list[Floats]:
    """Normal values about the training's mean, wider than they spread."""
    chance = np.random.default_rng(seed)
    mean_F, std_F = np.array(like.mean), np.array(like.std)
    return [
        (mean_F + SPREAD * std_F * chance.standard_normal((length, like.width))).astype(np.float32)
        for length in lengths
    ]


def as_json(row_TF: Floats, like: VectorInput) -> list[object]:
    """The row as a caller sends it."""
    values: list[object] = (row_TF if like.is_sequence else row_TF[0]).tolist()
    return values


def _once(rows: Sequence[Floats]) -> list[Floats]:
    return list({row.tobytes(): row for row in rows}.values())
