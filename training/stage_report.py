"""What did a run, stage by stage, come to?"""

from collections.abc import Sequence

from training.data.rows import Splits
from training.loop import Trained
from training.report import CURVES_FILE, curves_png
from training.stages import Stage


def run_figures(stages: Sequence[Stage], trained: Sequence[Trained], splits: Splits) -> dict[str, object]:
    """JSON. The figures of the last stage, whose weights are kept, and where there are several, those of each."""
    rows = {"train": len(splits.train), "dev": len(splits.dev), "test": len(splits.test)}
    figures = {**_figures(stages[-1], trained[-1]), "steps": sum(each.steps for each in trained), "rows": rows}
    if not stages[-1].number:
        return figures
    of_each = [
        {"loss": stage.loss.name, "trains": stage.trains, **_figures(stage, each)}
        for stage, each in zip(stages, trained, strict=True)
    ]
    return {**figures, "stages": of_each}


def stage_curves(stages: Sequence[Stage], trained: Sequence[Trained]) -> dict[str, bytes]:
    """A picture of each stage by the path of its file; the last one's has the name that a run without stages gives."""
    pictures = {}
    for stage, each in zip(stages, trained, strict=True):
        path = CURVES_FILE if stage is stages[-1] else CURVES_FILE.replace(".png", f"-stage-{stage.number}.png")
        pictures[path] = curves_png(each.history, each.metric, each.best_epoch)
    return pictures


def _figures(stage: Stage, trained: Trained) -> dict[str, object]:
    is_last = stage.recipe.budget.choose == "last"
    return {
        "best_epoch": trained.best_epoch,
        "chosen_by": "being the last" if is_last else f"dev {trained.metric}",
        "dev": {} if trained.metric is None else {trained.metric: trained.best_metric},
        "epochs": trained.history,
        "steps": trained.steps,
    }
