"""Each text stands once, in one split, and every row is accounted for."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.checks import describe
from training.data.rows import Counts, Row, Splits, normal
from training.data.sources import load_files
from training.data.splits import share
from training.errors import DataError
from training.recipe.data import FileData

texts = st.sampled_from(["turn on", "Turn  on", "turn off", "TURN OFF ", "dim", "", "   ", "straße", "STRASSE"])
lines = st.one_of(
    st.builds(lambda text, label: json.dumps({"text": text, "label": label}), texts, st.sampled_from(["a", "b"])),
    st.sampled_from(["oops", '{"text": 3, "label": "a"}', '{"text": "no label"}']),
)
files = st.lists(lines, min_size=1, max_size=12)


def write(folder: Path, **parts: list[str]) -> FileData:
    for name, rows in parts.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return FileData(source="files", **{name: f"{name}.jsonl" for name in parts})  # type: ignore[arg-type]  # three names


def row(text: str, label: str) -> str:
    return json.dumps({"text": text, "label": label})


def many(count: int, start: int = 0) -> list[str]:
    return [row(f"text number {number}", "ab"[number % 2]) for number in range(start, start + count)]


@settings(max_examples=150, deadline=None)
@given(train=files, dev=files, test=files)
def test_rows_in_are_used_rejected_or_deduplicated(train: list[str], dev: list[str], test: list[str]) -> None:
    """Also when there are faults: then the sums stand in the message, and rejected rows and problems agree."""
    with TemporaryDirectory() as folder:
        data = write(Path(folder), train=train, dev=dev, test=test)
        try:
            splits = load_files(data, Path(folder), "classify")
        except DataError as error:
            sums = [line for line in str(error).splitlines() if "rows in =" in line]
            rejected = sum(int(line.split(" used + ")[1].split(" rejected")[0]) for line in sums)
            assert rejected == len([problem for problem in error.problems if ".jsonl:" in problem])
            for line, rows in zip(sums, (train, dev, test), strict=True):
                assert f": {len(rows)} rows in =" in line
        else:
            check_counts(splits, {"train": len(train), "dev": len(dev), "test": len(test)})


def check_counts(splits: Splits, rows_in: dict[str, int]) -> None:
    rows = {"train": splits.train, "dev": splits.dev, "test": splits.test}
    everything = [normal(row.text) for split in rows.values() for row in split]
    assert len(everything) == len(set(everything))
    assert {name: counts.rows_in for name, counts in splits.counts.items()} == rows_in
    assert {name: counts.used for name, counts in splits.counts.items()} == {name: len(r) for name, r in rows.items()}


def test_counts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        Counts(rows_in=3, used=1, rejected=1, deduplicated=0)


def test_counts_print_as_a_sum() -> None:
    assert str(Counts(4000, 3950, 30, 20)) == "4,000 rows in = 3,950 used + 30 rejected + 20 deduplicated"


def test_equal_rows_are_kept_once_and_counted(tmp_path: Path) -> None:
    data = write(
        tmp_path,
        train=[row("one", "a"), row(" ONE", "a"), row("two", "b"), row("Three", "a"), row("four", "b")],
        dev=[row("three", "a"), row("dev", "b"), row("FOUR", "b")],
        test=[row("four", "b"), row("test", "a")],
    )

    splits = load_files(data, tmp_path, "classify")

    assert [row.text for row in splits.train] == ["one", "two"]
    assert [row.text for row in splits.dev] == ["three", "dev"]
    assert [row.text for row in splits.test] == ["four", "test"]
    assert splits.counts == {"train": Counts(5, 2, 0, 3), "dev": Counts(3, 2, 0, 1), "test": Counts(2, 2, 0, 0)}


def test_missing_splits_are_split_off_by_a_stable_hash(tmp_path: Path) -> None:
    splits = load_files(write(tmp_path, train=many(1000)), tmp_path, "classify")

    assert {name: counts.used for name, counts in splits.counts.items()} == {"train": 783, "dev": 116, "test": 101}
    assert splits.test[0].text == "text number 25"  # the same on every machine and in every process


def test_rows_keep_their_split_when_others_come(tmp_path: Path) -> None:
    few = load_files(write(tmp_path, train=many(500)), tmp_path, "classify")
    more = load_files(write(tmp_path, train=many(600, start=400) + many(400)), tmp_path, "classify")

    for name in ("train", "dev", "test"):
        old = {row.text for row in getattr(few, name)}
        assert old <= {row.text for row in getattr(more, name)}


def test_only_the_missing_split_is_split_off(tmp_path: Path) -> None:
    splits = load_files(write(tmp_path, train=many(300), test=many(20, start=1000)), tmp_path, "classify")

    assert splits.counts["test"] == Counts(20, 20, 0, 0)
    assert 10 < len(splits.dev) < 60
    assert len(splits.train) + len(splits.dev) == 300


def test_label_with_one_row_stays_in_train() -> None:
    rows = [Row(f"text {number}", f"t:{number}", label=str(number)) for number in range(50)]

    parts = share(rows, {"dev": 0.3, "test": 0.3})

    assert sorted(row.text for row in parts["train"]) == sorted(row.text for row in rows)


def test_too_few_rows_for_three_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_files(write(tmp_path, train=[row("one", "a"), row("two", "b")]), tmp_path, "classify")

    assert caught.value.problems == ["dev: no row is left", "test: no row is left"]


def test_one_label_is_not_enough(tmp_path: Path) -> None:
    rows = [row(f"text number {number}", "a") for number in range(100)]

    with pytest.raises(DataError) as caught:
        load_files(write(tmp_path, train=rows), tmp_path, "classify")

    assert caught.value.problems == ['train: every row has the label "a"; a classifier needs two']


def test_description_has_the_sums_and_the_rarest_and_commonest_labels() -> None:
    train = [Row(f"text {n}", f"t:{n}", label=label) for n, label in enumerate("abbccccdd")]
    counts = {"train": Counts(10, 9, 0, 1), "dev": Counts(0, 0, 0, 0), "test": Counts(0, 0, 0, 0)}

    assert describe(Splits(train, [], [], list("abcd"), counts)) == [
        "train: 10 rows in = 9 used + 0 rejected + 1 deduplicated",
        "dev: 0 rows in = 0 used + 0 rejected + 0 deduplicated",
        "test: 0 rows in = 0 used + 0 rejected + 0 deduplicated",
        "4 labels in train; fewest rows: a 1, b 2, d 2",
        "most rows: c 4, d 2, b 2",
    ]
