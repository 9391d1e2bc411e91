"""What are the data of a run like, all checks together?

What reading them found (duplicates, overlaps, conflicts), and what only the whole of them shows: texts that train
shares with dev or test or nearly shares, texts longer than the model reads, the balance of the classes, the lengths.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from training.data.checks import said
from training.data.findings import Check, Finding
from training.data.lengths import CHARACTERS, Ruler, Spread, histogram, measure, over_long
from training.data.near import near_overlaps
from training.data.rows import Row, Splits
from training.data.splits import SPLITS, Split, shared_texts


@dataclass(frozen=True, slots=True)
class Overview:
    """All that is known of the data of a run.

    `spreads` and `bins` leave out empty splits. `bins` is the rows by length: name of a bin → split → rows; `balance`
    is label → split → rows, the label with most rows of train first.
    """

    splits: Splits
    unit: str
    limit: int | None
    findings: Mapping[Check, Sequence[Finding]]
    spreads: Mapping[Split, Spread]
    bins: Mapping[str, Mapping[Split, int]]
    balance: Mapping[str, Mapping[Split, int]]


def overview(splits: Splits, ruler: Ruler = CHARACTERS) -> Overview:
    """Every check that needs the whole of the data; lengths by `ruler`. A million rows take minutes."""
    rows: dict[Split, list[Row]] = {"train": splits.train, "dev": splits.dev, "test": splits.test}
    lengths = {split: measure(part, ruler) for split, part in rows.items() if part}
    held_out = [*splits.dev, *splits.test]
    findings: dict[Check, Sequence[Finding]] = {**splits.findings}
    if any(len(row.texts) > 1 for row in splits.train[:1]):  # of rows of one text, reading found those that are shared
        findings["shared text"] = shared_texts(splits.train, held_out)
    if not splits.is_of_vectors:
        findings["near"] = near_overlaps(splits.train, held_out)
    if ruler.limit is not None:
        found = (over_long(rows[split], part, ruler.limit, ruler.unit) for split, part in lengths.items())
        findings["over-long"] = [finding for part in found for finding in part]
    longest = max((int(part.max()) for part in lengths.values()), default=0)
    bins: dict[str, dict[Split, int]] = {}
    for split, part in lengths.items():
        for name, count in histogram(part, longest):
            bins.setdefault(name, {})[split] = count
    spreads = {split: Spread.of(part) for split, part in lengths.items()}
    return Overview(splits, ruler.unit, ruler.limit, findings, spreads, bins, _balance(splits.labels, rows))


def _balance(labels: Sequence[str], rows: Mapping[Split, Sequence[Row]]) -> dict[str, dict[Split, int]]:
    counts = {split: Counter(label for row in part for label in row.all_labels) for split, part in rows.items()}
    ordered = sorted(labels, key=lambda label: (-counts["train"][label], label))
    return {label: {split: counts[split][label] for split in SPLITS} for label in ordered}


def sentences(view: Overview) -> Iterator[str]:
    """A line for a person on each check that only the whole of the data shows, if it found something."""
    for check in ("shared text", "near", "over-long"):
        if findings := view.findings.get(check):
            yield said(view.splits, check, findings)
    spread = view.spreads.get("train")
    if spread is not None:
        limit = f"; the model reads {view.limit:,}" if view.limit else ""
        row = "row" if view.unit == "vectors" else "text"
        yield f"{view.unit} of a {row} of train: half have up to {spread.p50:,}, 99 % up to {spread.p99:,}{limit}"
