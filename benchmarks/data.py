"""How long do the checks of a million rows take, and in how much memory?

Rows with one label of 77, in three splits, as CSV, JSONL, packed JSONL and Parquet. Each form is read and checked by a
process of its own – schema, encoding, exact duplicates, overlap of the splits – whose time counts from its start to its
end and whose memory is the most it ever had. What was planted must be found to the row, or there is no figure. Near
duplicates are timed apart.

    python -m benchmarks data
"""

import csv
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import corpus
from benchmarks.machine import ROOT, origin
from benchmarks.phases import Say
from benchmarks.schema import DataChecks, DataForm, DataNear
from training.data.rows import normal

TARGET_S, TARGET_MB = 60.0, 1000.0
LABELS = 77
WORDS = (3, 26)  # of a text: 14.5 on average, a sentence
HELD_OUT = 0.05  # of the rows, each for dev and test
DUPLICATES, OVERLAPS, NEAR = 0.01, 0.005, 0.001  # of the rows: in train twice, in train and test, nearly so
NEAR_WORDS = 12  # of a text with a planted near duplicate: a letter of it is less than a tenth of its pieces
SEED = 5

Pair = tuple[str, str]  # text, label


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of each split, and how many of them were planted."""

    splits: dict[str, list[Pair]]
    duplicates: int
    overlaps: int
    near: int


def measure(rows: int, arguments: Sequence[str], say: Say) -> DataChecks:
    """Every form, then near duplicates.

    Raises:
        ValueError: what was found is not what was planted.
    """
    made = make(rows)
    with tempfile.TemporaryDirectory() as folder:
        forms = [_form(form, made, Path(folder), say) for form in WRITERS]
        near = _near(made, Path(folder), say)
    texts = [text for part in made.splits.values() for text, _ in part]
    return DataChecks(
        origin=origin(arguments),
        target_s=TARGET_S,
        target_mb=TARGET_MB,
        rows=len(texts),
        labels=LABELS,
        characters_mean=round(sum(map(len, texts)) / len(texts), 1),
        duplicates=made.duplicates,
        overlaps=made.overlaps,
        forms=forms,
        near=near,
    )


def make(rows: int) -> Rows:
    """Sentences of words as frequent as in docstrings; the same for the same number of rows."""
    chance = random.Random(SEED)
    words = [word for text in corpus(20_000, SEED) for word in text.split()]
    held_out, copies = int(rows * HELD_OUT), int(rows * DUPLICATES)
    shared, near = int(rows * OVERLAPS), int(rows * NEAR)
    drawn: dict[str, None] = {}
    while len(drawn) < rows - copies - shared:
        drawn[normal(" ".join(chance.choices(words, k=chance.randint(*WORDS))))] = None
    texts = list(drawn)
    test, dev, train = texts[:held_out], texts[held_out : 2 * held_out], texts[2 * held_out :]
    long = [place for place, text in enumerate(test) if len(text.split()) >= NEAR_WORDS][shared : shared + near]
    rewritten = [_rewrite(test[place], chance) for place in long]
    train[: len(rewritten)] = rewritten  # in place of others, so that the number of rows stays
    label = {text: f"class_{chance.randrange(LABELS):02}" for text in (*test, *dev, *train)}
    pairs = {
        name: [(text, label[text]) for text in part] for name, part in (("test", test), ("dev", dev), ("train", train))
    }
    pairs["train"] += [(f" {text}".upper(), label[text]) for text in chance.sample(train, copies)]
    pairs["train"] += [(f"{text}  ", label[text]) for text in test[:shared]]
    chance.shuffle(pairs["train"])
    return Rows(pairs, copies, shared, len(rewritten))


def _rewrite(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text))
    return f"{text[:place]}q{text[place:]}"


def _write_csv(rows: list[Pair], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def _write_jsonl(rows: list[Pair], path: Path) -> None:
    lines = (json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    content = "".join(lines).encode()
    path.write_bytes(gzip.compress(content, 6) if path.suffix == ".gz" else content)


def _write_parquet(rows: list[Pair], path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    texts, labels = zip(*rows, strict=True)
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path)


WRITERS: dict[str, Callable[[list[Pair], Path], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "jsonl.gz": _write_jsonl,
    "parquet": _write_parquet,
}


def _form(form: str, made: Rows, folder: Path, say: Say) -> DataForm:
    for split, rows in made.splits.items():
        WRITERS[form](rows, folder / f"{split}.{form}")
    started_s = time.perf_counter()
    found = _child("check", folder, form)
    seconds = time.perf_counter() - started_s
    if (found["duplicates"], found["overlaps"]) != (made.duplicates, made.overlaps):
        raise ValueError(f"{form}: planted {made.duplicates} and {made.overlaps}, found {found}")
    say(f"{form}: {seconds:.1f} s, {found['peak_mb']:.0f} MB")
    return DataForm(form=form, seconds=round(seconds, 2), peak_mb=round(found["peak_mb"], 1))


def _near(made: Rows, folder: Path, say: Say) -> DataNear:
    found = _child("near", folder, "csv")
    say(f"near duplicates: {found['seconds']:.1f} s, {found['found']:.0f} found of {made.near} planted")
    return DataNear(
        seconds=round(found["seconds"], 2),
        peak_mb=round(found["peak_mb"], 1),
        texts=sum(len(made.splits[split]) for split in ("dev", "test")),
        planted=made.near,
        found=int(found["found"]),
    )


def _child(what: str, folder: Path, form: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.data", what, str(folder), form]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"the checks of {form} failed: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _check(what: str, folder: Path, form: str) -> dict[str, float]:
    """In a process of its own."""
    from training.data.near import near_overlaps
    from training.data.sources import load_files
    from training.recipe.data import FileData

    names = {split: f"{split}.{form}" for split in ("train", "dev", "test")}
    splits = load_files(FileData.model_validate({"source": "files", **names}), folder, "classify")
    found: dict[str, float] = {
        "duplicates": len(splits.findings["duplicate"]),
        "overlaps": len(splits.findings["overlap"]),
    }
    if what == "near":
        started_s = time.perf_counter()
        found["found"] = len(near_overlaps(splits.train, [*splits.dev, *splits.test]))
        found["seconds"] = time.perf_counter() - started_s
    return found | {"peak_mb": _peak_mb()}


def _peak_mb() -> float:
    """The most memory of this process. getrusage would give that of the parent before it, if it was more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    print(json.dumps(_check(sys.argv[1], Path(sys.argv[2]), sys.argv[3])))
