"""How good are the classifiers that were trained here?

Their bundles know: figures are read from the manifest, where training wrote them and the gate compared the exported
graph's with torch's. Nothing is trained or run again.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from app.bundle.manifest import ClassifyHead, Manifest
from app.bundle.open import open_bundle
from app.bundle.store import bundle_dir, current, names
from benchmarks.machine import origin
from benchmarks.schema import Quality, Trained


class Accuracy(BaseModel):
    """A baseline's figures in a report."""

    accuracy: float


class Report(BaseModel):
    """The part of a classifier's report that is read here."""

    model_config = ConfigDict(extra="ignore")

    accuracy: float
    macro_f1: float
    ece_before: float
    ece_after: float
    temperature: float
    best_epoch: int
    chosen_by: str
    rows: dict[str, int]
    baselines: dict[str, Accuracy] = {}
    probes: Accuracy | None = None


def measure(models: Sequence[Path], command: Sequence[str]) -> Quality:
    """The figures of every trained classifier in the folders `models`.

    Raises:
        BundleError: a bundle is broken. ValueError: there is no trained classifier, or its report is another.
    """
    found = [manifest for folder in models for manifest in _manifests(folder / "store")]
    trained = [_trained(manifest) for manifest in found if isinstance(manifest.heads[0], ClassifyHead)]
    if not trained:
        raise ValueError(f"no trained classifier in {', '.join(map(str, models))}; train one first")
    return Quality(origin=origin(command), trained=trained)


def _manifests(store: Path) -> list[Manifest]:
    return [open_bundle(bundle_dir(store, name, current(store, name))).manifest for name in names(store)]


def _trained(manifest: Manifest) -> Trained:
    report = Report.model_validate(manifest.metrics)
    seed = manifest.training["seed"]
    assert isinstance(seed, int)  # the writer's own field
    return Trained(
        model=manifest.name,
        seed=seed,
        train_rows=report.rows["train"],
        test_rows=report.rows["test"],
        baselines={name: baseline.accuracy for name, baseline in report.baselines.items()},
        probes=report.probes.accuracy if report.probes else None,
        **report.model_dump(exclude={"rows", "baselines", "probes"}),
    )
