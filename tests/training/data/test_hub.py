"""A data set comes through `datasets`; without a network or a cache it is refused with the way out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.data.sources import load_dataset
from training.errors import DataError
from training.recipe.data import Columns, DatasetData

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set that is a folder, so that no hub is asked; its cache is thrown away."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    made = tmp_path / "made"
    made.mkdir()
    for split, count in {"train": 60, "test": 20}.items():
        rows = [{"text": f"{split} {number}", "intent": "ab"[number % 2]} for number in range(count)]
        (made / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return made


def data_of(folder: Path, **changes: object) -> DatasetData:
    columns = Columns(label="intent")
    return DatasetData.model_validate(
        {"source": "dataset", "id": str(folder), "test": "test", "columns": columns, **changes}
    )


def test_splits_of_a_data_set_are_read(folder: Path) -> None:
    splits = load_dataset(data_of(folder), "classify")

    assert splits.labels == ["a", "b"]
    assert splits.counts["test"].used == 20
    assert splits.counts["train"].used + splits.counts["dev"].used == 60
    assert splits.train[0].where == f"{folder}[train]:1"
    assert set(splits.digests) == {f"{folder}[train]", f"{folder}[test]"}


def test_column_it_does_not_have_is_reported(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(data_of(folder, columns=Columns(label="label")), "classify")

    assert caught.value.problems[0] == (
        f'{folder}[train]: no column "label"; its columns: text, intent; name yours in [data.columns]'
    )


def test_split_it_does_not_have_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="cannot be fetched: Unknown split"):
        load_dataset(data_of(folder, train="training"), "classify")


def test_offline_data_set_is_refused_at_once_with_the_way_out(tmp_path: Path) -> None:
    """In a process of its own: the libraries read HF_HUB_OFFLINE and HF_HOME when they are imported."""
    code = (
        "from training.data.sources import load_dataset; from training.recipe.data import DatasetData;"
        "load_dataset(DatasetData(source='dataset', id='no-such-owner/no-such-set'), 'classify')"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert 'DataError: the data set "no-such-owner/no-such-set" cannot be fetched: ' in done.stderr
    assert "set HF_HUB_OFFLINE=1 to read it from the cache in HF_HOME" in done.stderr
    assert "Retrying" not in done.stderr


def test_hub_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    code = (
        "from training.data.sources import load_dataset; from training.recipe.data import DatasetData;"
        "load_dataset(DatasetData(source='dataset', id='no-such-owner/no-such-set'), 'classify')"
    )
    closed_port = "http://127.0.0.1:9"
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": closed_port, "HF_HOME": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert f"{closed_port} does not answer" in done.stderr
    assert "Retrying" not in done.stderr


def test_numbered_classes_come_out_as_names_in_lists_too(folder: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "intent": datasets.Sequence(datasets.ClassLabel(names=["joy", "grief"]))}
    )
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").unlink()
        rows = {"text": [f"{split} {number}" for number in range(60)], "intent": [[0], [1, 0], []] * 20}
        datasets.Dataset.from_dict(rows, features).to_parquet(folder / f"{split}.parquet")

    splits = load_dataset(data_of(folder), "multi_label")

    assert splits.labels == ["grief", "joy"]
    assert [row.labels for row in splits.test[:3]] == [("joy",), ("grief", "joy"), ()]
