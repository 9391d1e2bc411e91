"""How good is a trained model, head by head?

The files of the primary head are those of the model; those of the others have the name of the head in front.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from training.data.rows import Row
from training.evaluation.judges import JUDGES
from training.evaluation.trained import Judged, Taught, TrainedHead

Figures = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Report:
    """The heads, the files of the bundle by path, and those that stay with the run."""

    heads: list[Taught]
    report: dict[str, bytes]
    private: dict[str, bytes]


def judge_heads(
    heads: Sequence[TrainedHead], probes: Sequence[Row], figures: Figures, more_figures: Mapping[str, Figures]
) -> Report:
    """Judge each head on its test rows, the primary first.

    Args:
        probes: sentences apart from the data, for the primary head.
        figures: of the run; they stand among those of the primary head.
        more_figures: of the other heads, by name.
    """
    first, *others = heads
    judged = _judge(first, probes, figures)
    whole = Report([_taught(first, judged)], dict(judged.report), dict(judged.private))
    for head in others:
        name = head.task.name
        judged = _judge(head, [], more_figures[name])
        whole.heads.append(_taught(head, judged))
        whole.report.update(_named(judged.report, name))
        whole.private.update(_named(judged.private, name))
    return whole


def _judge(head: TrainedHead, probes: Sequence[Row], figures: Figures) -> Judged:
    return JUDGES[head.task.problem_type](head, probes, figures)


def _taught(head: TrainedHead, judged: Judged) -> Taught:
    return Taught(head.task, head.splits, judged.fitted, judged.metrics)


def _named(files: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    """`report/confusion.png` as `report/room-confusion.png`."""
    paths = {PurePosixPath(path): data for path, data in files.items()}
    return {str(path.with_name(f"{name}-{path.name}")): data for path, data in paths.items()}
