"""What does the head of a SetFit model compute?

SetFit pickles it (`model_head.pkl`), and a pickle runs what is in it, so it is never loaded here: `SNIPPET` writes it
down as numbers where it comes from. One linear layer holds each kind: scikit-learn's LogisticRegression, several of
them for several labels (OneVsRestClassifier, MultiOutputClassifier), and SetFit's own differentiable head. C labels, D
values of a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from app.bundle.manifest import Json
from training.errors import TrainingError
from training.modeling.folder import read_json

PICKLED = "model_head.pkl"
WEIGHTS = "model_head.safetensors"
FACTS = "model_head.json"
SNIPPET = """\
import json
from pathlib import Path

import joblib
import numpy as np
from safetensors.numpy import save_file

folder = Path({folder!r})
head = joblib.load(folder / "model_head.pkl")
if hasattr(head, "linear"):  # SetFit's differentiable head
    weight = head.linear.weight.detach().cpu().double().numpy()
    bias = np.zeros(len(weight)) if head.linear.bias is None else head.linear.bias.detach().cpu().double().numpy()
    facts = {{"temperature": head.temperature + head.eps, "multi_label": getattr(head, "multitarget", False)}}
else:  # scikit-learn's LogisticRegression, or several of them
    parts = getattr(head, "estimators_", [head])
    if not all(hasattr(part, "coef_") for part in parts) or len({{part.coef_.shape[1] for part in parts}}) > 1:
        raise SystemExit(f"{{type(head).__name__}} is no single linear layer; it cannot be converted")
    weight = np.concatenate([part.coef_ for part in parts])
    bias = np.concatenate([np.broadcast_to(part.intercept_, len(part.coef_)) for part in parts])
    facts = {{
        "parts": [type(part).__name__ for part in parts],
        "ways": [[getattr(part, "solver", ""), getattr(part, "multi_class", "")] for part in parts],
        "multi_label": head is not parts[0] and getattr(head, "multilabel_", True),
        "classes": np.asarray(head.classes_).tolist() if head is parts[0] else None,
    }}
save_file({{"coef": np.ascontiguousarray(weight), "intercept": np.array(bias)}}, folder / "model_head.safetensors")
(folder / "model_head.json").write_text(json.dumps({{"kind": type(head).__name__, **facts}}))
"""

KINDS = ("LogisticRegression", "OneVsRestClassifier", "MultiOutputClassifier", "SetFitHead")
Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinearHead:
    """Logits = `weight_CD` · vector + `bias_C`, divided by `temperature` before they become probabilities.

    `classes` are what scikit-learn calls the labels, in order: None where it numbers them.
    """

    weight_CD: Weights
    bias_C: Weights
    is_multi_label: bool
    temperature: float
    classes: Sequence[str | int] | None


def read_head(folder: Path) -> LinearHead:
    """The head that `SNIPPET` has written into `folder`.

    Raises:
        TrainingError: it did not, or the head computes what one linear layer does not.
    """
    path = folder / WEIGHTS
    facts = read_json(folder / FACTS)
    try:
        numbers = load_file(path)
        weight_CD, bias_C = numbers["coef"].astype(np.float64), numbers["intercept"].astype(np.float64)
    except (SafetensorError, OSError, KeyError) as error:
        raise TrainingError(f"{path} does not hold `coef` and `intercept`: {error}") from error
    if weight_CD.ndim != 2 or bias_C.shape != weight_CD.shape[:1]:
        raise TrainingError(f"{path}: coef of shape {weight_CD.shape} and intercept of {bias_C.shape} do not fit")
    is_multi_label = facts.get("multi_label") is True
    _check_kind(facts, is_multi_label, len(weight_CD), folder / FACTS)
    if len(weight_CD) == 1 and not is_multi_label:  # one number decides between two: softmax(±d / 2) is its sigmoid
        weight_CD, bias_C = np.concatenate([-weight_CD, weight_CD]) / 2, np.concatenate([-bias_C, bias_C]) / 2
    temperature, classes = facts.get("temperature", 1.0), facts.get("classes")
    return LinearHead(
        weight_CD,
        bias_C,
        is_multi_label,
        temperature=temperature if isinstance(temperature, float) else 1.0,
        classes=classes if isinstance(classes, list) else None,
    )


def _check_kind(facts: Json, is_multi_label: bool, rows: int, path: Path) -> None:
    """Its probabilities are a softmax or a sigmoid of one linear layer.

    Raises:
        TrainingError: they are something else.
    """
    kind, parts, ways = facts.get("kind"), facts.get("parts", []), facts.get("ways", [])
    if kind not in KINDS:
        raise TrainingError(f"{path}: the head is a {kind}, which is no linear layer; known are {', '.join(KINDS)}")
    if odd := sorted({str(part) for part in parts if part != "LogisticRegression"}) if isinstance(parts, list) else []:
        raise TrainingError(f"{path}: {kind} is made of {', '.join(odd)}; supported is LogisticRegression")
    if kind == "OneVsRestClassifier" and not is_multi_label:
        raise TrainingError(
            f"{path}: {kind} of one label a text shares one hundred percent among its sigmoids, which no head here "
            "does; train the head as LogisticRegression"
        )
    apart = [way for way in ways if "liblinear" in way or "ovr" in way] if isinstance(ways, list) else []
    if apart and rows > 1 and not is_multi_label:
        raise TrainingError(
            f"{path}: LogisticRegression with {' and '.join(filter(None, apart[0]))} gives each label a sigmoid of its "
            "own, not a softmax; train the head with the solver lbfgs"
        )
