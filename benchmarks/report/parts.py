"""What is one number of a row of the table of targets?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.schema import Figures

Model = TypeVar("Model", bound=Figures)
PLANS = ("fp32", "int8")


@dataclass(frozen=True, slots=True)
class Part:
    """One number of a row: what it is, whether it holds, and the file it is from."""

    value: str
    holds: bool
    file: str


def read(folder: Path, name: str, model: type[Model]) -> Model | None:
    """A result file, or None where there is none."""
    path = folder / f"{name}.json"
    return model.model_validate_json(path.read_bytes()) if path.exists() else None
