"""How sure may a classifier say it is, and of what? All of it is fitted on dev rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.bundle.manifest import OutOfScope
from app.bundle.scope import Statistics


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a head's scores mean: its temperature, by coverage the limit of conformal sets, and its rule of scope.

    `statistics` is there where that rule reads vectors.
    """

    temperature: float = 1.0
    conformal: Mapping[str, float] = field(default_factory=dict)
    out_of_scope: OutOfScope | None = None
    statistics: Statistics | None = None
