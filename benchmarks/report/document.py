"""Where do figures stand in docs/benchmarks.md?

Between `<!-- figures: NAME -->` and `<!-- end -->`, made from `results/NAME.json`, so that no figure can differ from
its file; `rows` is the table of all targets, made from all of them.
"""

import re
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.machine import ROOT
from benchmarks.report import chaos, other, speed
from benchmarks.report.rows import rows_table
from benchmarks.schema import (
    RESULTS,
    Bench,
    DataChecks,
    EnginePython,
    Fair,
    FrontEnd,
    Full,
    Kills,
    Memory,
    Overload,
    Peers,
    Poison,
    Quality,
    Result,
    Schedule,
    Start,
    Terms,
)

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BLOCK = re.compile(r"(<!-- figures: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
RESULT: TypeAdapter[Result] = TypeAdapter(Result)


def fill(document: str, folder: Path = RESULTS) -> str:
    """The document with every block made anew from its file."""
    return BLOCK.sub(lambda found: f"{found[1]}{_block(found[2], folder)}{found[3]}", document)


def _block(name: str, folder: Path) -> str:
    if name == "rows":
        return rows_table(folder)
    path = folder / f"{name}.json"
    if not path.exists():
        return f"Not measured yet: `benchmarks/results/{name}.json` does not exist.\n"
    return _show(RESULT.validate_json(path.read_bytes()), name)


def _show(result: Result, name: str) -> str:
    match result:
        case Bench():
            return speed.bench(result, name)
        case Full():
            return speed.full(result, name)
        case Peers():
            return speed.peers(result, name)
        case Overload():
            return chaos.overload(result, name)
        case Kills():
            return chaos.kills(result, name)
        case Terms():
            return chaos.terms(result, name)
        case Poison():
            return chaos.poison(result, name)
        case Memory():
            return chaos.memory(result, name)
        case Fair():
            return chaos.fair(result, name)
        case Start():
            return other.start(result, name)
        case Schedule():
            return other.schedule(result, name)
        case Quality():
            return other.quality(result, name)
        case EnginePython():
            return other.engine_python(result, name)
        case FrontEnd():
            return other.front_end(result, name)
        case DataChecks():
            return other.data(result, name)
