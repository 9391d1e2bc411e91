"""What does a result file say?

`results/<file>.json` is one of the models of this package.
"""

from pathlib import Path

from benchmarks.schema.chaos import (
    Beside,
    Fair,
    FairRound,
    Footprint,
    Kill,
    Kills,
    Memory,
    Overload,
    Overloaded,
    Poison,
    Sample,
    Term,
    Terms,
)
from benchmarks.schema.common import (
    CeilingFigures,
    Control,
    Corpus,
    Figures,
    Latency,
    LoadFigures,
    Machine,
    Origin,
    Plan,
    ServiceFigures,
)
from benchmarks.schema.other import (
    DataChecks,
    DataForm,
    DataNear,
    EnginePython,
    EnginePythonFigures,
    FrontEnd,
    FrontEndRound,
    Quality,
    Schedule,
    Simulated,
    Start,
    Trained,
)
from benchmarks.schema.speed import Bench, Cell, Closed, Direct, Full, Offline, Open, Peer, Peers

__all__ = [
    "RESULTS",
    "Bench",
    "Beside",
    "CeilingFigures",
    "Cell",
    "Closed",
    "Control",
    "Corpus",
    "DataChecks",
    "DataForm",
    "DataNear",
    "Direct",
    "EnginePython",
    "EnginePythonFigures",
    "Fair",
    "FairRound",
    "Figures",
    "Footprint",
    "FrontEnd",
    "FrontEndRound",
    "Full",
    "Kill",
    "Kills",
    "Latency",
    "LoadFigures",
    "Machine",
    "Memory",
    "Offline",
    "Open",
    "Origin",
    "Overload",
    "Overloaded",
    "Peer",
    "Peers",
    "Plan",
    "Poison",
    "Quality",
    "Result",
    "Sample",
    "Schedule",
    "ServiceFigures",
    "Simulated",
    "Start",
    "Term",
    "Terms",
    "Trained",
    "file_of",
    "write",
]

RESULTS = Path(__file__).parents[1] / "results"

Result = (
    Bench
    | Full
    | Peers
    | Overload
    | Kills
    | Terms
    | Poison
    | Memory
    | Fair
    | Start
    | Schedule
    | Quality
    | EnginePython
    | FrontEnd
    | DataChecks
)


def file_of(result: Result) -> str:
    """The name of a result's file, without .json: its kind, and the plan where there is a file for each."""
    return result.file if isinstance(result, Bench | Full) else result.kind


def write(result: Result, folder: Path = RESULTS) -> Path:
    """Write one result file; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_of(result)}.json"
    path.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path
