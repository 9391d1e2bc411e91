"""Which rows stand in which split, each text once, and none in two?

Without a file for dev or test, a row's split is a stable hash of its text: it keeps its split when other rows come and
go. Of equal rows (same text, casefolded and blanks squeezed, same label or score) the first is kept; where splits share
one, test keeps it before dev, dev before train, so that train never holds what is measured. One text under two labels
is a fault, in one file or across two.

Published splits can be taken as they are instead, so that figures are on the published rows: then nothing is dropped
or refused for being there twice, and all of it is counted.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from training.data.findings import Check, Finding
from training.data.rows import Counts, Row, normal
from training.recipe.heads import RowKind

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
    several_labels: list[Finding] = field(default_factory=list)
    apart: list[Finding] = field(default_factory=list)
    undrawn: int = 0  # rows beyond those that a few-shot run draws

    def counts(self) -> Counts:
        """The final counts."""
        left_out = len(self.several_labels) + len(self.apart) + self.undrawn
        return Counts(self.rows_in, len(self.rows), self.rejected, self.deduplicated, left_out)


@dataclass(slots=True)
class Untangled:
    """What `untangle` met: a problem for each fault, and the places that are none."""

    problems: list[str] = field(default_factory=list)
    findings: dict[Check, list[Finding]] = field(
        default_factory=lambda: {"duplicate": [], "overlap": [], "conflict": []}
    )


def share(rows: Iterable[Row], shares: Mapping[Split, float]) -> dict[Split, list[Row]]:
    """The rows of train, with the named shares of them split off by a hash of the text.

    A label whose rows would all be split off keeps them in train: what is never trained cannot be measured.
    """
    parts: dict[Split, list[Row]] = {split: [] for split in SPLITS}
    for row in rows:
        parts[_split_of(row, shares)].append(row)
    trained = {label for row in parts["train"] for label in row.all_labels}
    for split in shares:
        parts["train"] += [row for row in parts[split] if not trained.issuperset(row.all_labels)]
        parts[split] = [row for row in parts[split] if trained.issuperset(row.all_labels)]
    return parts


def _split_of(row: Row, shares: Mapping[Split, float]) -> Split:
    place = int.from_bytes(hashlib.sha256(_bytes_of(row)).digest()[:8]) / 2**64
    edge = 0.0
    for split in ("test", "dev"):  # test first: its rows stay when dev's share changes
        edge += shares.get(split, 0.0)
        if place < edge and split in shares:
            return split
    return "train"


def _bytes_of(row: Row) -> bytes:
    """What decides the split of a row: its text, or its numbers."""
    return normal(row.text).encode() if row.vector is None else row.vector.tobytes()


def untangle(pools: Mapping[Split, Pool], *, as_published: bool = False) -> Untangled:
    """Leave each text once in `pools` and count the others; a text under two labels is a problem.

    Args:
        pools: changed in place, unless `as_published`.
        as_published: every row stays, and a text under two labels is a finding.
    """
    met = Untangled()
    earlier: dict[bytes, Row] = {}  # of the splits before
    for split in reversed(SPLITS):
        own: dict[bytes, Row] = {}
        kept: list[Row] = []
        for row in pools[split].rows:
            key = _key(row)
            first = earlier.get(key) or own.setdefault(key, row)
            if first is row:
                kept.append(row)
            elif first.answer == row.answer:
                pools[split].deduplicated += not as_published
                met.findings["overlap" if key in earlier else "duplicate"].append(Finding(row.where, first.where))
            else:
                pools[split].rejected += not as_published
                _note_conflict(met, row, first, as_published)
        if not as_published:
            pools[split].rows = kept
        if split != "train":  # the last and largest: nothing comes after it
            earlier |= own
    return met


def _note_conflict(met: Untangled, row: Row, first: Row, as_published: bool) -> None:
    same = "text" if row.vector is None else "vector"
    what = "score" if row.score is not None else "value" if row.value is not None else "label"
    own, other = _said(row), _said(first)
    met.findings["conflict"].append(Finding(row.where, first.where, f"{own} against {other}"))
    if not as_published:
        met.problems.append(f"{row.where}: its {what} is {own}, but {first.where} has the same {same} as {other}")


def _said(row: Row) -> str:
    if isinstance(row.answer, float):
        return f"{row.answer:g}"
    return ", ".join(f'"{label}"' for label in row.all_labels) or "none"


def _key(row: Row) -> bytes:
    """Equal for rows that are the same to a model: for embedding, the whole pair or triplet."""
    if row.vector is not None:
        return hashlib.blake2b(_bytes_of(row), digest_size=16).digest()
    return _digest("\x1f".join(normal(text) for text in row.texts))


def _digest(text: str) -> bytes:
    """16 bytes in place of a text: a million of them take 64 MB, whatever the texts take."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def set_apart(pools: Mapping[Split, Pool], names: Sequence[Split]) -> None:
    """Leave out of train every row that shares any single text with the splits `names`."""
    pool, kept = pools["train"], []
    for row, other in _shared(pool.rows, (row for name in names for row in pools[name].rows)):
        if other:
            pool.apart.append(Finding(row.where, other))
        else:
            kept.append(row)
    pool.rows = kept


def shared_texts(rows: Iterable[Row], others: Iterable[Row]) -> list[Finding]:
    """Those of `rows` that share any single text with `others`.

    A pair is not the same as another because they share a sentence, so `untangle` keeps both; a test of similarity has
    seen half of such a pair all the same.
    """
    return [Finding(row.where, other) for row, other in _shared(rows, others) if other]


def _shared(rows: Iterable[Row], others: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    """Each row with the place of one of `others` that has one of its texts, or nothing."""
    there = {key: row.where for row in others for key in _single_keys(row)}
    for row in rows:
        yield row, next((there[key] for key in _single_keys(row) if key in there), "")


def _single_keys(row: Row) -> list[bytes]:
    """One for each text of the row, or for its numbers."""
    return [_digest(normal(text)) for text in row.texts] if row.vector is None else [_key(row)]


def refuse_unknown_labels(pools: Mapping[Split, Pool], untrained: Collection[str] = ()) -> list[str]:
    """Take the rows out of dev and test whose label train does not have; a problem for each, but for labels that
    are not to be trained.

    A train split that could not be read says nothing about labels: then nothing is refused.
    """
    if not pools["train"].is_whole or not pools["train"].rows:
        return []
    trained = {label for row in pools["train"].rows for label in row.all_labels} | set(untrained)
    problems: list[str] = []
    for split in ("dev", "test"):
        pool = pools[split]
        unknown = [row for row in pool.rows if not trained.issuperset(row.all_labels)]
        pool.rows = [row for row in pool.rows if trained.issuperset(row.all_labels)]
        pool.rejected += len(unknown)
        for row in unknown:
            label = next(label for label in row.all_labels if label not in trained)
            problems.append(f'{row.where}: the label "{label}" does not occur in train')
    return problems


def refuse_too_few(pools: Mapping[Split, Pool], task: RowKind, *, wants_dev: bool = True) -> list[str]:
    """A problem for each empty split that is wanted, and for labels that leave nothing to choose between."""
    wanted = [split for split in SPLITS if split != "dev" or wants_dev]
    problems = [f"{split}: no row is left" for split in wanted if not pools[split].rows]
    labels = sorted({label for row in pools["train"].rows for label in row.all_labels})
    if task == "multi_label":
        named = {split for split in SPLITS if any(row.all_labels for row in pools[split].rows)}
        problems += [f"{split}: no row has a label" for split in SPLITS if pools[split].rows and split not in named]
    values = {row.value for row in pools["train"].rows}
    if task == "regression" and len(values) == 1:
        problems.append(f"train: every row has the value {values.pop():g}; there is nothing to learn")
    if task == "classify" and len(labels) == 1:
        problems.append(f'train: every row has the label "{labels[0]}"; a classifier needs two')
    return problems
