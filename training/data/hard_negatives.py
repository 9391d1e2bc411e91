"""Which texts does an encoder take for a match, although they are none?

For each pair, the nearest of all candidates whose cosine stays under that of the pair's own positive by a margin: what
is nearer is likely a right answer nobody marked (NV-Retriever, arXiv:2407.15831 section 3.2, whose 95 % of the
positive's cosine is the usual margin here). Texts that are equal to the pair's text, or to any positive of it, are no
candidates. Scores are computed in blocks, so memory is that of the vectors and one block. N pairs, M candidates, D
dimensions.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.data.rows import Row, normal

QUERIES, CANDIDATES = 256, 8192  # of one block of scores: 8 MB


@dataclass(frozen=True, slots=True)
class Search:
    """How many negatives a pair gets at most, and how far they must stay under its positive: by `margin`, in cosine
    where it is `absolute`, else as a share of the positive's cosine.
    """

    per_row: int = 1
    margin: float = 0.05
    absolute: bool = False

    def limits(self, positives_N: torch.Tensor) -> torch.Tensor:
        """The cosine that a negative of each pair must not exceed."""
        return positives_N - (self.margin if self.absolute else self.margin * positives_N.abs())


@dataclass(frozen=True, slots=True)
class Mined:
    """For each pair the numbers of its negatives among the candidates, the nearest first.

    `too_near` counts candidates that the margin took out, `own` those that are the text itself or a positive of it.
    """

    negatives: list[list[int]]
    too_near: int
    own: int


def candidates_of(rows: Sequence[Row], corpus: Sequence[str] = ()) -> list[str]:
    """Every positive of `rows` and every text of `corpus` once, in that order."""
    texts = [row.positive for row in rows if row.positive is not None]
    first: dict[str, str] = {}
    for text in (*texts, *corpus):
        first.setdefault(normal(text), text)
    return list(first.values())


def own_candidates(rows: Sequence[Row], candidates: Sequence[str]) -> list[list[int]]:
    """For each row, the candidates that are equal to its text, or to a positive of any row with the same text."""
    number_of = {normal(text): number for number, text in enumerate(candidates)}
    own: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        for text in (row.text, row.positive):
            if text is not None and normal(text) in number_of:
                own[normal(row.text)].add(number_of[normal(text)])
    return [sorted(own[normal(row.text)]) for row in rows]


def mine(
    texts_ND: torch.Tensor,
    positives_ND: torch.Tensor,
    candidates_MD: torch.Tensor,
    own: Sequence[Sequence[int]],
    search: Search,
) -> Mined:
    """The hard negatives of each pair.

    Args:
        texts_ND: unit vectors of the texts of the pairs, `positives_ND` of their positives.
        candidates_MD: unit vectors of the candidates.
        own: for each pair, the candidates that are right.
        search: how many there may be, and how near.
    """
    negatives: list[list[int]] = []
    too_near = 0
    limits_N = search.limits((texts_ND * positives_ND).sum(dim=1))
    for start in range(0, len(texts_ND), QUERIES):
        part = slice(start, start + QUERIES)
        found, skipped = _nearest(texts_ND[part], limits_N[part], candidates_MD, own[part], search.per_row)
        negatives += found
        too_near += skipped
    return Mined(negatives, too_near, sum(map(len, own)))


def _nearest(
    texts_BD: torch.Tensor,
    limits_B: torch.Tensor,
    candidates_MD: torch.Tensor,
    own: Sequence[Sequence[int]],
    count: int,
) -> tuple[list[list[int]], int]:
    """The nearest `count` candidates of each text, and how many are over the limits."""
    best_BK = texts_BD.new_full((len(texts_BD), count), float("-inf"))
    numbers_BK = torch.full_like(best_BK, -1, dtype=torch.long)
    rows = torch.tensor([row for row, numbers in enumerate(own) for _ in numbers], dtype=torch.long)
    columns = torch.tensor([number for numbers in own for number in numbers], dtype=torch.long)
    too_near = 0
    for start in range(0, len(candidates_MD), CANDIDATES):
        block_CD = candidates_MD[start : start + CANDIDATES]
        scores_BC = texts_BD @ block_CD.T
        here = (columns >= start) & (columns < start + len(block_CD))
        scores_BC[rows[here].to(scores_BC.device), columns[here].to(scores_BC.device) - start] = float("-inf")
        over_BC = scores_BC > limits_B[:, None]
        too_near += int(over_BC.sum())
        scores_BC = scores_BC.masked_fill(over_BC, float("-inf"))
        top = scores_BC.topk(min(count, len(block_CD)), dim=1)
        joined_BK = torch.cat([best_BK, top.values], dim=1)
        # Stable: of equal scores, the candidate that came first.
        order_BK = joined_BK.sort(dim=1, descending=True, stable=True).indices[:, :count]
        best_BK = joined_BK.gather(1, order_BK)
        numbers_BK = torch.cat([numbers_BK, top.indices + start], dim=1).gather(1, order_BK)
    kept = zip(numbers_BK.tolist(), best_BK.isfinite().tolist(), strict=True)
    found = [[number for number, is_there in zip(numbers, there, strict=True) if is_there] for numbers, there in kept]
    return found, too_near
