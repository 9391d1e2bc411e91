"""What do the numbers of a classifier mean, by the `config.json` of transformers?

`id2label` names them in order, `problem_type` tells what they are. Where it does not, one number is a value and several
are labels of which one is right, as transformers trains them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.bundle.manifest import Json
from training.errors import TrainingError

ProblemType = Literal["single_label", "multi_label", "regression"]
PROBLEM_TYPES: Mapping[object, ProblemType] = {
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
    "regression": "regression",
}
UNSAID = 2  # labels of a config without id2label and num_labels: transformers leaves its default out
PLACEHOLDER = re.compile(r"LABEL_\d+")  # transformers' own, where nobody gave names


@dataclass(frozen=True, slots=True)
class Meaning:
    """Of each logit, in order. `notes` are lines for people."""

    labels: list[str]
    problem_type: ProblemType
    notes: Sequence[str]


def read_meaning(config: Json, path: Path) -> Meaning:
    """What the logits mean by `config`, the content of `path`.

    Raises:
        TrainingError: the labels are not numbered from 0 on, or repeat; or the problem type is unknown.
    """
    notes: list[str] = []
    labels = _labels(config, path)
    count = len(labels)
    if all(PLACEHOLDER.fullmatch(label) for label in labels):
        shown = ", ".join(labels[:2]) + (", …" if count > 2 else "")
        notes.append(f"{path} gives its labels no names: they are kept as {shown}; write id2label there to name them")
    said = config.get("problem_type")
    if said is None:
        problem: ProblemType = "regression" if count == 1 else "single_label"
        notes.append(f"{path} has no problem_type: {count} logit{'s' * (count > 1)} taken for {problem}")
    elif said in PROBLEM_TYPES:
        problem = PROBLEM_TYPES[said]
    else:
        raise TrainingError(f"{path} has problem_type {said!r}; known are {', '.join(map(str, PROBLEM_TYPES))}")
    if problem == "single_label" and count == 1:
        raise TrainingError(
            f"{path} says single_label_classification with one label, which would always have the probability 1; "
            "write problem_type regression or multi_label_classification there"
        )
    return Meaning(labels, problem, notes)


def _labels(config: Json, path: Path) -> list[str]:
    said = config.get("id2label")
    if said is None:
        count = config.get("num_labels")
        return [f"LABEL_{number}" for number in range(count if isinstance(count, int) else UNSAID)]
    if not isinstance(said, dict) or not said:
        raise TrainingError(f"{path} has an id2label that is no object of numbers and labels")
    named = {str(number): str(label) for number, label in said.items()}
    wanted = [str(number) for number in range(len(named))]
    if set(named) != set(wanted):
        raise TrainingError(f"{path}: id2label numbers its labels {', '.join(sorted(named))}; number them from 0 on")
    labels = [named[number] for number in wanted]
    if repeated := sorted({label for label in labels if labels.count(label) > 1}):
        raise TrainingError(f"{path}: id2label has {', '.join(map(repr, repeated))} more than once; rename one of them")
    return labels
