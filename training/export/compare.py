"""How far may two answers to the same rows differ?

Pure comparisons with the gate's limits; each raises on the first broken rule and gives back the largest difference.
Measured on a 6-layer encoder in fp32: 4e-7 for unit vectors, 5e-6 for logits. 1e-5 and 1e-4 leave room for larger
encoders and none for another model. B rows, D dimensions, C labels.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead
from app.bundle.scoring import unit
from training.errors import GateError
from training.export.decisions import decisions, unsure

Floats = NDArray[np.float32]
Outputs = Mapping[str, Floats]

VECTOR_LIMIT = 1e-5  # of any value of two unit vectors
NORM_LIMIT = 1e-4  # of two norms, relative: a graph that normalises by itself differs here and nowhere else
LOGIT_LIMIT = 1e-4


def check_shapes(want: Outputs, got: Outputs, where: str) -> None:
    """The same outputs with the same shapes (else G01)."""
    if list(want) != list(got):
        raise GateError("G01-shapes", f"{where}: the graph gives {list(got)}, the model {list(want)}")
    for name in want:
        if want[name].shape != got[name].shape:
            raise GateError("G01-shapes", f"{where}: {name} has shape {got[name].shape}, not {want[name].shape}")


def check_finite(outputs: Outputs, where: str, whose: str) -> None:
    """Numbers only (else G02)."""
    for name, rows_BD in outputs.items():
        bad = np.flatnonzero(~np.isfinite(rows_BD).all(axis=1))
        if bad.size:
            raise GateError("G02-finite", f"{where}: {name} of the {whose} is not finite in row {int(bad[0])}")


def vector_difference(want: Outputs, got: Outputs, where: str, *, rule: str = "G04-vectors") -> float:
    """The largest difference of any value of the unit vectors; the norms are held as well.

    Raises:
        GateError: over the limits.
    """
    a_BD, b_BD = want[EMBEDDING_OUTPUT], got[EMBEDDING_OUTPUT]
    a_B, b_B = np.linalg.norm(a_BD, axis=1), np.linalg.norm(b_BD, axis=1)
    _hold(np.abs(a_B - b_B) / np.maximum(a_B, 1e-6), NORM_LIMIT, rule, f"{where}: norms of the vectors")
    return _hold(np.abs(unit(a_BD) - unit(b_BD)).max(axis=1), VECTOR_LIMIT, rule, f"{where}: unit vectors")


def logits_difference(
    want: Outputs, got: Outputs, where: str, *, rule: str = "G05-logits", units: Mapping[str, float] | None = None
) -> float | None:
    """The largest difference of any logit; None for a model without classifier heads.

    Args:
        units: by output, what its differences are measured in; 1 where it is not named.

    Raises:
        GateError: over the limit.
    """
    names = [name for name in want if name != EMBEDDING_OUTPUT]
    if not names:
        return None
    found = []
    for name in names:
        difference_B = np.abs(want[name] - got[name]).max(axis=1) / (units or {}).get(name, 1.0)
        found.append(_hold(difference_B, LOGIT_LIMIT, rule, f"{where}: {name}"))
    return max(found)


def check_labels(want: Outputs, got: Outputs, heads: Sequence[ClassifyHead], where: str) -> None:
    """The same labels in every row where they are not too close to call (else G06)."""
    for head in heads:
        name = head.output
        changed_BC = decisions(head, want[name]) != decisions(head, got[name])
        changed = np.flatnonzero((changed_BC & ~unsure(head, want[name])).any(axis=1))
        if changed.size:
            raise GateError("G06-labels", f"{where}: {name}: row {int(changed[0])} has another label")


def _hold(difference_B: Floats, limit: float, rule: str, what: str) -> float:
    row = int(difference_B.argmax())
    if not difference_B[row] <= limit:
        raise GateError(rule, f"{what} differ by {difference_B[row]:.1e} in row {row}; the limit is {limit:.0e}")
    return float(difference_B[row])
