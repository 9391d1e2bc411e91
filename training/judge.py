"""How good is a bundle? Nothing is trained here and nothing is written.

A bundle is judged by what callers get: its own tokenizer.json and graph in ONNX Runtime, labels by its manifest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from app.bundle.manifest import Manifest
from app.bundle.store import bundle_dir, current
from app.bundle.verify import verify
from training.build import store_of
from training.errors import TrainingError
from training.export.exam import make_exam
from training.export.served import graph_outputs
from training.progress import Progress
from training.recipe import load_recipe
from training.run import load_data


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bundle reached on test rows. `reported` is what its manifest says, `baselines` that of simpler models."""

    model: str
    metric: str
    value: float
    rows: int
    reported: float | None
    baselines: Mapping[str, float]

    def __str__(self) -> str:
        lines = [f"{self.model}: {self.metric} {self.value:.4f} on {self.rows:,} test rows, through the exported graph"]
        if self.reported is not None and self.reported != self.value:
            lines.append(
                f"  its report says {self.reported:.4f}: other data, or another split, than it was trained with"
            )
        lines += [f"  {name.replace('_', ' ')}: {value:.4f}" for name, value in self.baselines.items()]
        return "\n".join(lines)


def evaluate(path: Path, *, models: Path, progress: Progress) -> Verdict:
    """The current bundle of the recipe in `path` on the recipe's test split.

    Raises:
        TrainingError: the recipe has no data or no test rows. BundleError: there is no sound bundle.
    """
    recipe = load_recipe(path)
    if recipe.data is None:
        raise TrainingError(f"{recipe.name} has no [data], so there is nothing to evaluate it on")
    store = store_of(models)
    bundle = verify(bundle_dir(store, recipe.name, current(store, recipe.name)))
    manifest = bundle.manifest
    exam = make_exam(manifest.heads[0], load_data(recipe, path.parent, progress).test)
    if exam is None:
        raise TrainingError(f"{recipe.name} has no test rows")
    value, _slack = exam.judge(graph_outputs(bundle, exam.texts, progress))
    return _verdict(manifest, exam.metric, value, exam.rows)


def _verdict(manifest: Manifest, metric: str, value: float, rows: int) -> Verdict:
    reported = manifest.metrics.get(metric)
    simpler = cast("Mapping[str, Mapping[str, Any]]", manifest.metrics.get("baselines") or {})
    return Verdict(
        model=f"{manifest.name}@{manifest.version}",
        metric=metric,
        value=value,
        rows=rows,
        reported=reported if isinstance(reported, float) else None,
        baselines={name: figures[metric] for name, figures in simpler.items() if metric in figures},
    )
