"""How good is a bundle? Nothing is trained here and nothing is written.

A bundle is judged by what callers get: its own tokenizer.json and graph in ONNX Runtime, labels by its manifest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from app.bundle.manifest import Manifest
from app.bundle.open import Bundle
from app.bundle.store import bundle_dir, current
from app.bundle.verify import verify
from training.build import store_of
from training.data.rows import Row
from training.errors import TrainingError
from training.export.exam import make_exam
from training.export.served import graph_outputs
from training.progress import Progress
from training.recipe import load_recipe
from training.run import load_heads

ROUNDING = 1e-5  # relative: what the same graph may differ by, judged in other batches; one row in 10,000 is more


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bundle reached on test rows. `reported` is what its manifest says, `baselines` that of simpler models,
    `others` are the verdicts on its heads beside the primary one.
    """

    model: str
    metric: str
    value: float
    rows: int
    reported: float | None
    baselines: Mapping[str, float]
    others: Sequence["Verdict"] = ()

    def __str__(self) -> str:
        lines = [f"{self.model}: {self.metric} {self.value:.4f} on {self.rows:,} test rows, through the exported graph"]
        if self.reported is not None and not math.isclose(self.reported, self.value, rel_tol=ROUNDING):
            lines.append(
                f"  its report says {self.reported:.4f}: other data, or another split, than it was trained with"
            )
        lines += [f"  {name.replace('_', ' ')}: {value:.4f}" for name, value in self.baselines.items()]
        return "\n".join([*lines, *map(str, self.others)])


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
    primary, *more = load_heads(recipe, path.parent, progress)
    names = [table.head.name for table in recipe.more_heads]
    others = [_judge(bundle, name, part.test, progress) for name, part in zip(names, more, strict=True)]
    return replace(_judge(bundle, "", primary.test, progress), others=others)


def _judge(bundle: Bundle, name: str, test: Sequence[Row], progress: Progress) -> Verdict:
    """The verdict on the head `name`, or on the primary one.

    Raises:
        TrainingError: the bundle has no such head, or there are no rows for it.
    """
    manifest = bundle.manifest
    head = next((head for head in manifest.heads if name in ("", head.name)), None)
    if head is None:
        there = ", ".join(head.name for head in manifest.heads)
        raise TrainingError(f"{manifest.name}@{manifest.version} has no head {name}; it has: {there}")
    exam = make_exam(head, test)
    if exam is None:
        raise TrainingError(f"{manifest.name} has no test rows")
    value, _slack = exam.judge(graph_outputs(bundle, exam.texts, progress))
    return _verdict(manifest, name, exam.metric, value, exam.rows)


def _verdict(manifest: Manifest, head: str, metric: str, value: float, rows: int) -> Verdict:
    """`head` is empty for the primary one, whose figures are those of the model."""
    figures: Mapping[str, Any] = manifest.metrics
    if head:
        figures = cast("Mapping[str, Mapping[str, Any]]", manifest.metrics.get("heads") or {}).get(head, {})
    reported = figures.get(metric)
    simpler = cast("Mapping[str, Mapping[str, Any]]", figures.get("baselines") or {})
    return Verdict(
        model=f"{manifest.name}@{manifest.version}" + (f", head {head}" if head else ""),
        metric=metric,
        value=value,
        rows=rows,
        reported=reported if isinstance(reported, float) else None,
        baselines={name: found[metric] for name, found in simpler.items() if metric in found},
    )
