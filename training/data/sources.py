"""How do the records of files or of a data set become the splits of a run?

Read every named split → check every record → split off what is not named → each text once → labels. All problems of
all files are found before one `DataError` is raised: nothing is trained on data with a fault.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from training.data import hub
from training.data.checks import BadValue, SeveralLabels, to_row, wanted_columns
from training.data.corpus import read_corpus
from training.data.draw import draw
from training.data.files import read
from training.data.findings import Check, Finding
from training.data.lines import FileFault
from training.data.records import Record
from training.data.rows import Counts, Row, Splits
from training.data.slices import sliced, values_of
from training.data.splits import (
    SPLITS,
    Pool,
    Split,
    Untangled,
    refuse_too_few,
    refuse_unknown_labels,
    set_apart,
    share,
    untangle,
)
from training.data.vectors import refuse_other_forms
from training.errors import DataError
from training.recipe.data import Columns, DatasetData, DigitsData, FileData
from training.recipe.heads import RowKind

Sources = Mapping[Split, Iterator[Record]]


def load_files(data: FileData, folder: Path, task: RowKind, untrained: Collection[str] = ()) -> Splits:
    """The rows of files; relative paths start at `folder`. `task` is what they tell; labels that are
    `untrained` may stand in dev and test alone.

    Raises:
        DataError: with every problem of every file.
    """
    paths: dict[Split, Path] = {split: folder / name for split in SPLITS if (name := getattr(data, split)) is not None}
    others = [folder / data.corpus] if data.corpus is not None else []
    digests = _check_bytes([*paths.values(), *others], data.sha256)
    wanted = [*dict.fromkeys([*wanted_columns(data.columns, task), *data.slices])]
    records = {split: read(path, wanted) for split, path in paths.items()}
    splits = _assemble(data, task, records, digests, untrained)
    return replace(splits, corpus=_corpus(others[0], data, splits)) if others else splits


def load_dataset(data: DatasetData, task: RowKind, untrained: Collection[str] = ()) -> Splits:
    """The rows of a Hugging Face data set; `untrained` as for files.

    Raises:
        DataError: it cannot be fetched, or has problems: all of them.
    """
    names: dict[Split, str] = {split: name for split in SPLITS if (name := getattr(data, split)) is not None}
    wanted = [*dict.fromkeys([*wanted_columns(data.columns, task), *data.slices])]
    sources = {split: hub.records(data, name, wanted) for split, name in names.items()}
    splits = _assemble(data, task, sources, {}, untrained)
    splits.digests.update({f"{data.id}[{name}]": _digest_rows(getattr(splits, split)) for split, name in names.items()})
    return splits


def load_digits(data: DigitsData) -> Splits:
    """The digits that scikit-learn has installed, as rows of numbers under "0" to "9"."""
    from sklearn.datasets import load_digits as installed

    images_N88, digits_N = installed(return_X_y=False).images, installed().target
    shown = images_N88 if data.rows == "sequences" else images_N88.reshape(len(images_N88), -1)
    records = (
        Record(f"digits:{number}", {"pixels": values, "digit": str(digit)})
        for number, (values, digit) in enumerate(zip(shown.tolist(), digits_N.tolist(), strict=True), start=1)
    )
    as_files = FileData(
        source="files",
        train="digits",
        dev_share=data.dev_share,
        test_share=data.test_share,
        columns=Columns(vector="pixels", label="digit"),
        origin=data.origin,
    )
    digest = hashlib.sha256(images_N88.tobytes() + digits_N.tobytes()).hexdigest()
    return _assemble(as_files, "classify", {"train": records}, {"digits": digest}, ())


def _assemble(
    data: FileData | DatasetData, task: RowKind, sources: Sources, digests: dict[str, str], untrained: Collection[str]
) -> Splits:
    pools: dict[Split, Pool] = {split: Pool() for split in SPLITS}
    problems: list[str] = []
    for split, records in sources.items():
        problems += _fill(pools[split], records, data, task)
    problems += refuse_other_forms(pools)
    shares: dict[Split, float] = {"dev": data.dev_share, "test": data.test_share}
    missing = {split: part for split, part in shares.items() if split not in sources}
    if missing:
        _share_train(pools, missing)
    met = untangle(pools, as_published=data.as_published)
    problems += met.problems
    if data.apart_from:
        set_apart(pools, data.apart_from)
    if task != "embed":
        problems += refuse_unknown_labels(pools, untrained)
    if data.per_label is not None:
        _draw(pools["train"], data.per_label, data.draw_seed)
    if data.slices:
        problems += _slice_test(pools, data.slices)
    if not problems:
        problems += refuse_too_few(pools, task, wants_dev=data.has_dev)
    counts: dict[str, Counts] = {split: pool.counts() for split, pool in pools.items()}
    if problems:
        sums = "\n".join(f"{split}: {count}" for split, count in counts.items())
        raise DataError(f"the data have {_count(len(problems))}; nothing was trained\n{sums}", problems)
    labels = sorted({label for row in pools["train"].rows for label in row.all_labels})
    rows = {split: pool.rows for split, pool in pools.items()}
    return Splits(
        train=rows["train"],
        dev=rows["dev"],
        test=rows["test"],
        labels=labels,
        counts=counts,
        digests=digests,
        origin=data.origin,
        findings=_findings(met, pools),
        as_published=data.as_published,
        slices=tuple(data.slices),
    )


def _corpus(path: Path, data: FileData, splits: Splits) -> list[str]:
    """Raises: DataError: with every problem of the file."""
    texts, problems = read_corpus(path, data.columns.text, [row.positive or "" for row in splits.test])
    if problems:
        raise DataError(f"data.corpus has {_count(len(problems))}; nothing was trained", problems)
    return texts


def _slice_test(pools: Mapping[Split, Pool], columns: Sequence[str]) -> list[str]:
    """Give the values to test rows alone: nobody asks for those of others, and a run does not depend on them."""
    for split in ("train", "dev"):
        pools[split].rows = [replace(row, slices=()) for row in pools[split].rows]
    pools["test"].rows, problems = sliced(pools["test"].rows, columns)
    return problems


def _findings(met: Untangled, pools: Mapping[Split, Pool]) -> dict[Check, list[Finding]]:
    several = [finding for pool in pools.values() for finding in pool.several_labels]
    return {**met.findings, "several labels": several, "apart": pools["train"].apart}


def _fill(pool: Pool, records: Iterator[Record], data: FileData | DatasetData, task: RowKind) -> list[str]:
    """Read `records` into `pool`; returns the problems."""
    problems: list[str] = []
    try:
        for record in records:
            pool.rows_in += 1
            try:
                row = to_row(record, data.columns, task, data.label_separator)
                pool.rows.append(replace(row, slices=values_of(record, data.slices)) if data.slices else row)
            except BadValue as bad:
                if data.one_label_only and isinstance(bad, SeveralLabels):
                    pool.several_labels.append(Finding(record.where))
                else:
                    pool.rejected += 1
                    problems.append(f"{record.where}: {bad}")
    except FileFault as fault:
        pool.is_whole = False
        problems.append(str(fault))
    return problems


def _draw(train: Pool, per_label: int, seed: int) -> None:
    drawn = draw(train.rows, per_label, seed)
    train.undrawn = len(train.rows) - len(drawn)
    train.rows = drawn


def _share_train(pools: Mapping[Split, Pool], shares: Mapping[Split, float]) -> None:
    parts = share(pools["train"].rows, shares)
    pools["train"].rows = parts["train"]
    for split in shares:
        pools[split].rows = parts[split]
        pools[split].rows_in = len(parts[split])
        pools["train"].rows_in -= len(parts[split])


def _check_bytes(paths: list[Path], expected: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of each file by its name, for those that can be read; the others are reported when they are read.

    Raises:
        DataError: a file has other bytes than the recipe says, or the recipe says it of a file that is not read.
    """
    digests = {path.name: _digest_file(path) for path in paths if path.is_file()}
    problems = [
        f"{name}: sha256 is {digests[name]}, the recipe says {wanted}: other bytes than it was written for"
        for name, wanted in expected.items()
        if digests.get(name, wanted) != wanted
    ]
    known = {path.name for path in paths}
    problems += [f"{name}: [data.sha256] names it, but no split reads it" for name in expected if name not in known]
    if problems:
        raise DataError("the data files are not the ones the recipe names; nothing was read", problems)
    return digests


def _digest_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest_rows(rows: list[Row]) -> str:
    """Of a data set that has no files here: a hash of the rows that are used."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr((row.text, row.answer, row.positive, row.negative)).encode())
        digest.update(b"" if row.vector is None else row.vector.tobytes())
    return digest.hexdigest()


def _count(problems: int) -> str:
    return "1 fault" if problems == 1 else f"{problems:,} faults"
