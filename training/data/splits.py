"""Which rows stand in which split, each text once, and none in two?

Without a file for dev or test, a row's split is a stable hash of its text: it keeps its split when other rows come and
go. Of equal rows (same text, casefolded and blanks squeezed, same label) the first is kept; where splits share one,
test keeps it before dev, dev before train, so that train never holds what is measured. One text under two labels is a
fault, in one file or across two.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from training.data.rows import Counts, Row, normal

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(slots=True)
class Pool:
    """The rows of one split while it is put together, and what became of the others."""

    rows: list[Row] = field(default_factory=list)
    rejected: int = 0
    deduplicated: int = 0
    rows_in: int = 0
    is_whole: bool = True  # false when its file could not be read to the end

    def counts(self) -> Counts:
        """The final counts."""
        return Counts(self.rows_in, len(self.rows), self.rejected, self.deduplicated)


def share(rows: Iterable[Row], shares: Mapping[Split, float]) -> dict[Split, list[Row]]:
    """The rows of train, with the named shares of them split off by a hash of the text.

    A label whose rows would all be split off keeps them in train: what is never trained cannot be measured.
    """
    parts: dict[Split, list[Row]] = {split: [] for split in SPLITS}
    for row in rows:
        parts[_split_of(row, shares)].append(row)
    trained = {row.label for row in parts["train"]}
    for split in shares:
        parts["train"] += [row for row in parts[split] if row.label not in trained]
        parts[split] = [row for row in parts[split] if row.label in trained]
    return parts


def _split_of(row: Row, shares: Mapping[Split, float]) -> Split:
    place = int.from_bytes(hashlib.sha256(normal(row.text).encode()).digest()[:8]) / 2**64
    edge = 0.0
    for split in ("test", "dev"):  # test first: its rows stay when dev's share changes
        edge += shares.get(split, 0.0)
        if place < edge and split in shares:
            return split
    return "train"


def untangle(pools: Mapping[Split, Pool]) -> list[str]:
    """Leave each text once in `pools` and count the others; returns a problem for each text under two labels."""
    seen: dict[str, Row] = {}
    problems: list[str] = []
    for split in reversed(SPLITS):
        pool = pools[split]
        kept: list[Row] = []
        for row in pool.rows:
            first = seen.setdefault(_key(row), row)
            if first is row:
                kept.append(row)
            elif first.label == row.label:
                pool.deduplicated += 1
            else:
                pool.rejected += 1
                problems.append(
                    f'{row.where}: its label is "{row.label}", but {first.where} has the same text as "{first.label}"'
                )
        pool.rows = kept
    return problems


def _key(row: Row) -> str:
    """Equal for rows that are the same to a model: for embedding, the whole pair or triplet."""
    return "\x1f".join(normal(part) for part in (row.text, row.positive, row.negative) if part is not None)


def refuse_unknown_labels(pools: Mapping[Split, Pool]) -> list[str]:
    """Take the rows out of dev and test whose label train does not have; returns a problem for each.

    A train split that could not be read says nothing about labels: then nothing is refused.
    """
    if not pools["train"].is_whole or not pools["train"].rows:
        return []
    trained = {row.label for row in pools["train"].rows}
    problems: list[str] = []
    for split in ("dev", "test"):
        pool = pools[split]
        unknown = [row for row in pool.rows if row.label not in trained]
        pool.rows = [row for row in pool.rows if row.label in trained]
        pool.rejected += len(unknown)
        problems += [f'{row.where}: the label "{row.label}" does not occur in train' for row in unknown]
    return problems


def refuse_too_few(pools: Mapping[Split, Pool], is_labelled: bool) -> list[str]:
    """A problem for each empty split, and for labels that leave nothing to choose between."""
    problems = [f"{split}: no row is left" for split in SPLITS if not pools[split].rows]
    labels = sorted({row.label or "" for row in pools["train"].rows})
    if is_labelled and len(labels) == 1:
        problems.append(f'train: every row has the label "{labels[0]}"; a classifier needs two')
    return problems
