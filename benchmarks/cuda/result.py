"""What does one experiment leave behind? `results/cuda-<name>.json`, closed and strict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from benchmarks.schema import Figures, Origin

Value = str | int | float | bool | None
Row = Mapping[str, Value]


class Gpu(Figures):
    """The device, as its driver describes it."""

    name: str
    driver: str
    memory_mib: int
    peak_tflops: float | None = Field(description="Dense fp16 of the data sheet; None for a device not listed here.")


class CudaResult(Figures):
    """One experiment: a row for each thing measured; units end the names of its fields."""

    kind: Literal["cuda"] = "cuda"
    experiment: str
    question: str
    origin: Origin
    gpu: Gpu
    seconds: float
    cut_short: bool = Field(description="The time was over before all was measured.")
    rows: Sequence[Row]


def path_of(folder: Path, experiment: str) -> Path:
    """Where an experiment's result lies."""
    return folder / f"cuda-{experiment}.json"


def write_result(result: CudaResult, folder: Path) -> Path:
    """Write one result; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(folder, result.experiment)
    path.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path
