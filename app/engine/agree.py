"""Does this way to run a model give the model's answers?

The golden inputs are replayed in small batches of mixed lengths, as traffic will be, and compared with the outputs of
the export; then some of them run alone: who shares a batch with a text must not change its answer.
B rows, D values of one output row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from app.bundle.batches import slices
from app.bundle.errors import BundleError
from app.bundle.golden import check_golden
from app.bundle.manifest import Manifest, Precision
from app.types import Item, Rows, Runner

GOLDEN_BATCH = 8
ALONE_ROWS = 6  # spread over the lengths
ALONE_MIN_COSINE = 0.9999


@dataclass(frozen=True, slots=True)
class Exam:
    """The golden rows of one bundle, as the graph reads them and as the outputs expected of them."""

    manifest: Manifest
    rows: Sequence[Item]
    expected: Mapping[str, Rows]

    @property
    def pool(self) -> Item:
        """What stands in all rows, one after the other: what is real to a model."""
        return cast(Item, np.concatenate(self.rows))

    def check(self, runner: Runner, precision: Precision, path: str) -> None:
        """Replay everything on `runner`; `path` names the model file in errors.

        Raises:
            BundleError: B10 with the row and the distance, or with what the runtime says.
        """
        try:
            together = run_in_batches(runner, self.rows)
            by_length = sorted(range(len(self.rows)), key=lambda index: len(self.rows[index]))
            some = [by_length[at] for at in np.linspace(0, len(by_length) - 1, ALONE_ROWS).astype(int)]
            alone = [runner.run([self.rows[index]]) for index in some]
        except Exception as error:  # the runtime raises its own types
            detail = f"{path}: the golden inputs cannot be run: {first_line(error)}"
            raise BundleError("B10-golden", detail) from error
        check_golden(self.manifest, self.expected, together, precision)
        for name in together:
            parts = [part[name][0] for part in alone]
            _check_alone(name, np.stack(parts), together[name][some], some)


def run_in_batches(runner: Runner, rows: Sequence[Item]) -> Mapping[str, Rows]:
    """Every row's outputs, run in small batches of mixed lengths."""
    parts = [runner.run(rows[part]) for part in slices(rows, GOLDEN_BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def first_line(error: Exception) -> str:
    """What a runtime's exception says, without the stack that some put into it."""
    return str(error).strip().split("\n")[0]


def _check_alone(name: str, alone_BD: Rows, together_BD: Rows, numbers: Sequence[int]) -> None:
    norms = np.linalg.norm(alone_BD, axis=1) * np.linalg.norm(together_BD, axis=1)
    cosine = (alone_BD * together_BD).sum(axis=1) / np.maximum(norms, np.finfo(np.float32).tiny)
    worst = int(cosine.argmin())
    if not cosine[worst] >= ALONE_MIN_COSINE:  # not a number counts as disagreement
        detail = f"output {name}: golden row {numbers[worst]} alone is not what it is in a batch"
        raise BundleError("B10-golden", f"{detail}: cosine {cosine[worst]:.6f}")
