"""Which records has a Hugging Face data set?

Through `datasets`, imported on use. The hub is asked once, for 5 s, before `datasets` is: without a network it would
retry for 23 s. `HF_HUB_OFFLINE=1` skips the question and reads what the cache (`HF_HOME`) has; an id that is a folder
needs no hub.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.data.lines import FileFault
from training.data.records import Record
from training.errors import DataError
from training.recipe.data import DatasetData

ASK_SECONDS = 5.0


def records(data: DatasetData, split: str, wanted: Sequence[str]) -> Iterator[Record]:
    """The records of one split; `where` counts rows from 1. Numbered classes come out as their names.

    Raises:
        DataError: the data set cannot be fetched.
        FileFault: it has no such column.
    """
    import datasets  # on use: 1.5 s that other sources need not pay

    try:
        _ask_hub(data)
        table = datasets.load_dataset(data.id, data.config, split=split, revision=data.revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(_refusal(data, error)) from error
    where = f"{data.id}[{split}]"
    for name in wanted:
        if name not in table.column_names:
            there = ", ".join(table.column_names)
            raise FileFault(f'{where}: no column "{name}"; its columns: {there}; name yours in [data.columns]')
    kinds = {
        name: getattr(table.features[name], "feature", table.features[name]) for name in wanted
    }  # of a list: inside
    names = {name: kind for name, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)}
    for number, row in enumerate(table.select_columns(list(wanted)), start=1):
        classes = {name: _classes_of(row[name], labels) for name, labels in names.items()}
        yield Record(f"{where}:{number}", {**row, **classes})


def _classes_of(value: int | list[int] | None, labels: Any) -> str | list[str | None] | None:  # noqa: ANN401 - no types
    """The class, or all of them where a row has a list."""
    return [_class_of(each, labels) for each in value] if isinstance(value, list) else _class_of(value, labels)


def _class_of(number: int | None, labels: Any) -> str | None:  # noqa: ANN401 - datasets has no types
    """The class's name; a number below 0 marks rows whose label is kept secret."""
    return None if number is None or number < 0 else str(labels.int2str(number))


def _ask_hub(data: DatasetData) -> None:
    """Return if the hub answers anything at all, or need not be asked; else raise what stands in the way (OSError)."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or Path(data.id).exists():
        return
    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=ASK_SECONDS).close()
    except urllib.error.HTTPError as answer:
        answer.close()  # a refusal is an answer, too
    except OSError as error:
        raise ConnectionError(f"{constants.ENDPOINT} does not answer ({error})") from error


def _refusal(data: DatasetData, error: Exception) -> str:
    return (
        f'the data set "{data.id}" cannot be fetched: {error}\n'
        "Go online, or set HF_HUB_OFFLINE=1 to read it from the cache in HF_HOME if it was fetched there before, or"
        ' save its rows as a CSV, JSONL or Parquet file and name that under [data] with source = "files".'
    )
