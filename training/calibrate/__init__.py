"""How sure may a classifier say it is, and of what? All of it is fitted on dev rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.bundle.manifest import ClassifyHead, OutOfScope
from app.bundle.scope import Statistics
from training.modeling import logits_name
from training.recipe.heads import ClassifyTask


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a head's scores mean: its temperature, by coverage the limit of conformal sets, its rule of scope, and by
    label the probability from which on it is given (multi-label).

    `statistics` is there where that rule reads vectors.
    """

    temperature: float = 1.0
    conformal: Mapping[str, float] = field(default_factory=dict)
    out_of_scope: OutOfScope | None = None
    statistics: Statistics | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)


def head_of(task: ClassifyTask, labels: Sequence[str], fitted: Fitted) -> ClassifyHead:
    """The head as a manifest has it; `labels` are those of the data, in the order of the logits."""
    return ClassifyHead(
        name=task.name,
        output=logits_name(task.name),
        problem_type=task.problem_type,
        labels=task.outputs(labels),
        temperature=fitted.temperature,
        thresholds=dict(fitted.thresholds),
        conformal=dict(fitted.conformal),
        out_of_scope=fitted.out_of_scope,
    )
