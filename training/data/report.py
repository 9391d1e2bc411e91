"""What does a person read about the data of a run?

One page, as Markdown and as HTML that needs nothing from elsewhere, and a table of every finding by file and line. The
page shows texts, which are private: it stands where the run's files are and never goes into a bundle. The same data
give the same bytes.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from training.data.checks import WHAT, what
from training.data.findings import Check, Finding
from training.data.overview import Overview
from training.data.page import Bar, Cell, Section, in_html, in_markdown
from training.data.rows import Row, Splits
from training.data.splits import SPLITS, Split

MARKDOWN_FILE = "data.md"
HTML_FILE = "data.html"
FINDINGS_FILE = "findings.csv"
SHOWN_FINDINGS = 5  # of each check, with their texts; the table beside has all
SHOWN_LABELS = 40  # with most rows, and as many with fewest
SHOWN_LETTERS = 160
_CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+"
)  # also those that turn text round


def write_report(view: Overview, name: str, folder: Path) -> Path:
    """Write the three files into `folder`, which is made; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = list(_sections(view))
    title = f"Data of {name}"
    (folder / MARKDOWN_FILE).write_text(in_markdown(title, sections), encoding="utf-8")
    (folder / FINDINGS_FILE).write_text(_table_of(view.findings), encoding="utf-8")
    page = folder / HTML_FILE
    page.write_text(in_html(title, sections), encoding="utf-8")
    return page


def _table_of(findings: Mapping[Check, Sequence[Finding]]) -> str:
    """Every finding, without texts: check, place, the other place, detail."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["check", "place", "other", "detail"])
    table.writerows([check, *finding] for check, found in findings.items() for finding in found)
    return text.getvalue()


def _sections(view: Overview) -> Iterator[Section]:
    yield _rows(view.splits)
    yield _checks(view)
    if view.balance:
        yield _balance(view.balance)
    yield _lengths(view)
    yield from _examples(view)


def _rows(splits: Splits) -> Section:
    published = " Splits are taken as they were published." if splits.as_published else ""
    files = "; ".join(f"{name}: {digest[:12]}" for name, digest in splits.digests.items())
    head = ["split", "rows in", "used", "rejected", "deduplicated", "left out"]
    rows: list[list[Cell]] = [
        [name, one.rows_in, one.used, one.rejected, one.deduplicated, one.left_out]
        for name, one in splits.counts.items()
    ]
    return Section("Rows", f"{splits.origin}{published} {files}".strip(), head, rows)


def _checks(view: Overview) -> Section:
    total = sum(counts.rows_in for counts in view.splits.counts.values())
    rows: list[list[Cell]] = [
        [what(view.splits, check), len(found), f"{len(found) / max(total, 1):.2%}", found[0].where if found else "–"]
        for check, found in view.findings.items()
    ]
    kind = "numbers" if view.splits.is_of_vectors else "a text"
    lead = f"Every row was read and is {kind}; shares are of all {total:,} rows. {FINDINGS_FILE} has every place."
    return Section("Checks", lead, ["check", "found", "share", "first"], rows)


def _balance(balance: Mapping[str, Mapping[Split, int]]) -> Section:
    labels = list(balance)
    most, fewest = balance[labels[0]]["train"], balance[labels[-1]]["train"]
    shown = labels if len(labels) <= 2 * SHOWN_LABELS else [*labels[:SHOWN_LABELS], *labels[-SHOWN_LABELS:]]
    hidden = f" {len(labels) - len(shown):,} between them are not shown." if len(shown) < len(labels) else ""
    ratio = f"the largest has {most / max(fewest, 1):,.1f} times the rows of the smallest"
    rows: list[list[Cell]] = [
        [label, Bar(balance[label]["train"], balance[label]["train"] / max(most, 1)), *_rest(balance[label])]
        for label in shown
    ]
    return Section("Classes", f"{len(labels):,} classes; {ratio}.{hidden}", ["label", *SPLITS], rows)


def _lengths(view: Overview) -> Section:
    spreads = "; ".join(
        f"{split}: half up to {one.p50:,}, 90 % up to {one.p90:,}, 99 % up to {one.p99:,}, longest {one.longest:,}"
        for split, one in view.spreads.items()
    )
    limit = f"The model reads {view.limit:,} {view.unit}. " if view.limit else ""
    longest = max((counts.get("train", 0) for counts in view.bins.values()), default=0)
    rows: list[list[Cell]] = [
        [name, Bar(counts.get("train", 0), counts.get("train", 0) / max(longest, 1)), *_rest(counts)]
        for name, counts in view.bins.items()
    ]
    return Section("Lengths", f"{limit}Rows by {view.unit}. {spreads}.", [view.unit, *SPLITS], rows)


def _rest(counts: Mapping[Split, int]) -> list[Cell]:
    return [counts.get(split, 0) for split in SPLITS[1:]]


def _examples(view: Overview) -> Iterator[Section]:
    """The first findings of each check with their texts, but for the rows that were dropped."""
    shown = {check: found[:SHOWN_FINDINGS] for check, found in view.findings.items() if found}
    wanted = {place for found in shown.values() for one in found for place in (one.where, one.other)}
    there = _rows_at(wanted, view.splits)
    for check, found in shown.items():
        title = WHAT[check].replace("text", "vector") if view.splits.is_of_vectors else WHAT[check]
        rows_shown: list[list[Cell]] = [
            [one.where, _text(there.get(one.where)), one.other or "–", _text(there.get(one.other)), one.detail or "–"]
            for one in found
        ]
        lead = f"{len(found):,} of {len(view.findings[check]):,}."
        yield Section(title[0].upper() + title[1:], lead, ["place", "text", "other place", "its text", ""], rows_shown)


def _rows_at(places: set[str], splits: Splits) -> dict[str, Row | None]:
    """The row at each place; None where several stand, as sentences of one template do."""
    there: dict[str, Row | None] = {}
    for part in (splits.train, splits.dev, splits.test):
        for row in part:
            if row.where in places:
                there[row.where] = row if there.get(row.where, row) == row else None
    return there


def _text(row: Row | None) -> str:
    if row is None:
        return "–"
    if row.vector is not None:
        return " × ".join(map(str, row.vector.shape)) + " numbers"
    text = _CONTROLS.sub(" ", " / ".join(row.texts))
    return text if len(text) <= SHOWN_LETTERS else text[:SHOWN_LETTERS] + " …"
