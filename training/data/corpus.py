"""Which other texts compete when a query looks for its own?

A file of texts, one a row; each text is kept once, by itself or among the texts it competes with.
"""

from collections.abc import Iterable
from pathlib import Path

from training.data.checks import BadValue, to_text
from training.data.files import read
from training.data.lines import FileFault
from training.data.rows import normal


def read_corpus(path: Path, column: str, apart_from: Iterable[str]) -> tuple[list[str], list[str]]:
    """The texts of `column` but those of `apart_from`, and every problem of the file."""
    seen = {normal(text) for text in apart_from}
    texts: list[str] = []
    problems: list[str] = []
    try:
        for record in read(path, [column]):
            try:
                text = to_text(record, column)
            except BadValue as bad:
                problems.append(f"{record.where}: {bad}")
                continue
            if (key := normal(text)) not in seen:
                seen.add(key)
                texts.append(text)
    except FileFault as fault:
        problems.append(str(fault))
    return texts, problems
