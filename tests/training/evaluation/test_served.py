"""What the report says of scope holds for the answers of the service: from a recipe over the bundle to HTTP."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from app.bundle.manifest import ClassifyHead, ScopeScore
from app.bundle.open import open_bundle
from tests.data.make_tiny import make_sources
from tests.training.served import predictions
from training.data import load
from training.data.rows import Row
from training.export.onnx import torchscript
from training.progress import Progress
from training.recipe import load_recipe
from training.run import train


@pytest.fixture(autouse=True)
def _quickest_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways of exporting have tests of their own, and so have the variants."""
    monkeypatch.setattr("training.export.onnx.WAYS", (torchscript,))
    monkeypatch.setattr("training.export.variants.MAKERS", ())


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four labels, of which sentences about the weather shall count as of none."""
    make_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(path.read_text().replace("out_of_scope = 0.5\n", ""))
    return path


def served(models: Path, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The service's predictions for the texts of rows."""
    return predictions(models, "tiny-classifier", [row.text for row in rows])


@pytest.mark.slow
@pytest.mark.parametrize("score", ["mahalanobis", "energy", "max_probability"])
def test_scope_over_http_is_that_of_the_report(score: ScopeScore, recipe: Path) -> None:
    overrides = [f'head.out_of_scope={{score="{score}", label="weather", false_alarms=0.1}}', "budget.epochs=6"]

    folder = train(recipe, models=recipe.parent, progress=Progress(), overrides=overrides)

    manifest = open_bundle(folder).manifest
    head, figures = manifest.heads[0], cast("dict[str, Any]", manifest.metrics["out_of_scope"])
    assert isinstance(head, ClassifyHead)
    assert head.out_of_scope is not None
    assert head.out_of_scope.score == figures["score"] == score
    assert "weather" not in head.labels
    splits = load(load_recipe(recipe, overrides), recipe.parent)
    inside, outside = (served(recipe.parent, rows) for rows in (splits.test, splits.outside["test"]))
    turned_away = sum(not answer["in_scope"] for answer in inside) / len(inside)
    found = sum(not answer["in_scope"] for answer in outside) / len(outside)
    assert turned_away == pytest.approx(figures["false_alarms"])
    assert found == pytest.approx(figures["recall"])
    assert (folder / "scope.npz").exists() == (score == "mahalanobis")
    assert "Out of scope by" in (folder / "MODEL_CARD.md").read_text()


@pytest.mark.slow
def test_the_best_score_on_dev_is_taken(recipe: Path) -> None:
    folder = train(
        recipe,
        models=recipe.parent,
        progress=Progress(),
        overrides=['head.out_of_scope={label="weather"}', "budget.epochs=2"],
    )

    manifest = open_bundle(folder).manifest
    figures = cast("dict[str, Any]", manifest.metrics["out_of_scope"])
    on_dev = figures["auroc_on_dev"]
    assert set(on_dev) == {"max_probability", "energy", "mahalanobis"}
    assert figures["score"] == max(on_dev, key=lambda score: on_dev[score])
    assert 0 < figures["auroc"] <= 1


@pytest.mark.slow
def test_rows_of_no_label_may_stand_in_dev_and_test_alone(recipe: Path) -> None:
    lines = (recipe.parent / "sentences.jsonl").read_text().splitlines(keepends=True)
    weather = [line for line in lines if '"weather"' in line]
    (recipe.parent / "train.jsonl").write_text("".join(line for line in lines if '"weather"' not in line))
    for name, rows in (("dev", weather[:40]), ("test", weather[40:])):
        others = [line for line in lines if '"weather"' not in line][:: 7 if name == "dev" else 11]
        (recipe.parent / f"{name}.jsonl").write_text("".join(rows + others))
    overrides = [f"data.{name}={name}.jsonl" for name in ("train", "dev", "test")]
    scope = ['head.out_of_scope={label="weather"}', "budget.epochs=1", "baselines=false"]

    folder = train(recipe, models=recipe.parent, progress=Progress(), overrides=[*overrides, *scope])

    figures = cast("dict[str, Any]", open_bundle(folder).manifest.metrics["out_of_scope"])
    assert figures["score"] in figures["auroc_on_dev"]
