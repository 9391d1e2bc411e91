"""How does one recipe with one seed become figures?

By the command of everyone, `python -m training train`, in a process of its own whose models lie under the work folder.
What it came to is kept there: a finished run is never run again, a stopped one goes on from its checkpoint. Another
recipe, or other settings beside it, are another run and begin anew.
"""

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead
from app.bundle.open import Bundle, open_bundle
from app.bundle.scoring import unit
from benchmarks.learning.goals import Training
from benchmarks.learning.schema import Run, Value
from benchmarks.machine import ROOT, origin
from benchmarks.schema import Origin
from training.data.rows import Row, Splits
from training.evaluate import predict
from training.evaluation.bootstrap import interval
from training.export.served import graph_outputs
from training.metrics import retrieval_ranks
from training.modeling import Model, load_encoder
from training.objectives.classification import targets
from training.progress import Progress
from training.recipe import load_recipe
from training.run import load_data

Floats = NDArray[np.float32]
# A bundle is made and gated, but for the variants: they cost minutes, and no figure is of them.
SETTINGS = ("export.int8=false", "export.packed=false")
LARGE = {"per_class", "by_length", "slices", "epochs", "probes", "findings", "intervals", "rows"}  # no single figures
RUN_FILE, PREDICTIONS_FILE, DIGEST_FILE, LOG_FILE, COUNT_FILE = "run.json", "test.npz", "digest", "log", "processes"


@dataclass(frozen=True, slots=True)
class Job:
    """One training with one seed, in its folder under `work`."""

    training: Training
    seed: int
    work: Path

    @property
    def folder(self) -> Path:
        """Everything of this run."""
        return self.work / self.training.name / str(self.seed)

    @property
    def overrides(self) -> list[str]:
        """All that is set beside the recipe."""
        own = [override.replace("{seed}", str(self.seed)) for override in self.training.overrides]
        return [f"seed={self.seed}", *SETTINGS, *own]

    @property
    def digest(self) -> str:
        """Of what was asked for."""
        recipes = [path.read_text() for path in (self.training.recipe, self.training.then) if path is not None]
        return hashlib.sha256("\n".join([*recipes, *self.overrides]).encode()).hexdigest()


def finished(job: Job) -> Run | None:
    """What the run came to; None if it is not finished, or was another."""
    path = job.folder / RUN_FILE
    if not path.exists():
        return None
    run = Run.model_validate_json(path.read_bytes())
    return run if run.digest == job.digest else None


def run(job: Job, command: Sequence[str]) -> Run:
    """Train, or go on training, and keep what it came to.

    Raises:
        ValueError: training failed; the message is its last line.
    """
    folder = job.folder
    if not (folder / DIGEST_FILE).exists() or (folder / DIGEST_FILE).read_text() != job.digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / DIGEST_FILE).write_text(job.digest)
    processes = 1 + int((folder / COUNT_FILE).read_text() if (folder / COUNT_FILE).exists() else 0)
    (folder / COUNT_FILE).write_text(str(processes))
    start_s = time.monotonic()
    bundle = open_bundle(_train(job))
    seconds = time.monotonic() - start_s
    _keep_predictions(job, bundle)
    metrics = bundle.manifest.metrics
    done = Run(
        training=job.training.name,
        seed=job.seed,
        digest=job.digest,
        origin=here(command),
        rows=cast("dict[str, int]", metrics["rows"]),
        best_epoch=cast("int", metrics["best_epoch"]),
        seconds=round(seconds, 1),
        processes=processes,
        figures={**figures(metrics), **(afterwards(bundle, job.training.then) if job.training.then else {})},
    )
    shutil.rmtree(folder / "models")  # gigabytes over all runs, and no figure needs them
    part = folder / f"{RUN_FILE}.part"
    part.write_text(done.model_dump_json(indent=1))
    part.replace(folder / RUN_FILE)
    return done


def here(arguments: Sequence[str]) -> Origin:
    """Where this is measured; without ENCODERY_DATA, whose folder says nothing to others."""
    found = origin(arguments)
    settings = {name: value for name, value in found.settings.items() if name != "ENCODERY_DATA"}
    said = " ".join(["python -m benchmarks.learning", *arguments])
    return found.model_copy(update={"settings": settings, "command": said})


def figures(metrics: Mapping[str, object]) -> dict[str, Value]:
    """Every single figure by its dotted path, with its interval where there is one."""
    intervals = cast("Mapping[str, tuple[float, float]]", metrics.get("intervals") or {})
    return {path: Value(value=value, interval=intervals.get(path)) for path, value in _numbers(metrics, "")}


def afterwards(bundle: Bundle, path: Path) -> dict[str, Value]:
    """How often texts of the test rows of the recipe in `path` find their own positive first: by the vectors of the
    bundle, and by those of the recipe's encoder as it is.
    """
    recipe = load_recipe(path)
    rows = load_data(recipe, path.parent, Progress()).test
    positives = [row.positive or "" for row in rows]
    texts = [row.text for row in rows] + positives
    loaded = load_encoder(recipe.encoder)
    vectors = {
        "then": graph_outputs(bundle, texts, Progress()),
        "before": predict(
            Model(loaded.encoder, {}), loaded.tokenizer, texts, max_tokens=loaded.max_tokens, pad_id=loaded.pad_id
        ),
    }
    found = {}
    for name, outputs in vectors.items():
        unit_MD = unit(outputs[EMBEDDING_OUTPUT])
        hits_N = retrieval_ranks(unit_MD[: len(rows)], unit_MD[len(rows) :], positives) == 1
        ends = interval(lambda drawn_N, hits_N=hits_N: float(hits_N[drawn_N].mean()), len(rows))  # type: ignore[misc]
        found[f"{name}.recall_at_1"] = Value(value=float(hits_N.mean()), interval=(ends[0], ends[1]))
    return found


def _numbers(table: Mapping[str, object], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and key not in LARGE:
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", float(value)


def _train(job: Job) -> Path:
    """The folder of the bundle that the process made."""
    sets = [part for override in job.overrides for part in ("--set", override)]
    models = ["--models", str(job.folder / "models"), "--resume"]
    command = [sys.executable, "-m", "training", "train", str(job.training.recipe), *sets, *models]
    log = job.folder / LOG_FILE
    with log.open("ab") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stream, text=True)
        try:
            said, _ = process.communicate()
        except BaseException:
            process.terminate()  # it writes a checkpoint
            process.wait()
            raise
    if process.returncode:
        last = (log.read_text(encoding="utf-8").splitlines() or ["nothing was said"])[-1]
        raise ValueError(f"{job.training.name}, seed {job.seed}: exit code {process.returncode}: {last}")
    return ROOT / said.strip().splitlines()[-1]


def _keep_predictions(job: Job, bundle: Bundle) -> None:
    """Of a classifier with one label a row."""
    head = bundle.manifest.heads[0]
    if not isinstance(head, ClassifyHead) or head.problem_type != "single_label":
        return
    recipe = job.training.recipe
    splits = load_data(load_recipe(recipe, job.overrides), recipe.parent, Progress())

    def logits(rows: Sequence[Row]) -> Floats:
        return graph_outputs(bundle, [row.input for row in rows], Progress())[head.output]

    np.savez(job.folder / PREDICTIONS_FILE, **predictions(splits, head.labels, logits))


def predictions(splits: Splits, labels: Sequence[str], logits: Callable[[Sequence[Row]], Floats]) -> dict[str, Any]:
    """The logits and the number of the right label of every dev and test row, as far as there are any: few-shot runs
    have no dev rows.
    """
    kept: dict[str, Any] = {}  # savez has another keyword, allow_pickle
    for name, rows in (("dev", splits.dev), ("test", splits.test)):
        if rows:
            kept[f"{name}_logits"], kept[f"{name}_targets"] = logits(rows), np.array(targets(rows, labels))
    return kept
