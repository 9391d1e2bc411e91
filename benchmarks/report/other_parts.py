"""What do the result files say about the targets of one front end, and of a GPU?"""

from pathlib import Path

from benchmarks.cuda.result import CudaResult, Row, path_of
from benchmarks.report.parts import Part, read
from benchmarks.schema import FrontEnd

PACKED, PADDED, PEER = "packed fp16", "padded fp16", "sentence-transformers fp16"
ROOF_SIZE, ROOF_TOKENS = "base", 128  # BERT-base


def front_end(folder: Path) -> list[Part]:
    """Requests for each CPU-second of a front end."""
    result = read(folder, "front-end", FrontEnd)
    if result is None:
        return []
    return [Part(f"{result.per_cpu_s:,.0f}", result.per_cpu_s >= result.target_per_cpu_s, "front-end")]


def cuda(folder: Path) -> list[Part]:
    """Packed against padded and against sentence-transformers, the share of the roof, padding."""
    return [*_mixed(folder), *_roof(folder)]


def _mixed(folder: Path) -> list[Part]:
    file = "cuda-packed-against-padded"
    rows = {row["engine"]: row for row in _rows(folder, "packed-against-padded") if "left_out" not in row}
    packed, padded, peer = (rows.get(name) for name in (PACKED, PADDED, PEER))
    found: list[Part] = []
    if packed and padded:
        ratio = _number(packed, "texts_per_s") / _number(padded, "texts_per_s")
        found.append(Part(f"{ratio:.2f}×", ratio >= 1.8, file))
    if packed and peer:
        ratio = _number(packed, "texts_per_s_with_tokenising") / _number(peer, "texts_per_s_with_tokenising")
        found.append(Part(f"{ratio:.2f}×", ratio >= 2.0, file))
    if packed:
        waste = _number(packed, "waste")
        found.append(Part(f"padding {waste:.1%}", waste <= 0.04, file))
    return found


def _roof(folder: Path) -> list[Part]:
    name = f"throughput-{ROOF_SIZE}"
    rows = [row for row in _rows(folder, name) if row.get("length") == ROOF_TOKENS and row.get("share_of_peak")]
    if not rows:
        return []
    best = max(_number(row, "share_of_peak") for row in rows)
    return [Part(f"{best:.0%} of the roof", best >= 0.4, f"cuda-{name}")]


def _rows(folder: Path, experiment: str) -> list[Row]:
    path = path_of(folder, experiment)
    return list(CudaResult.model_validate_json(path.read_bytes()).rows) if path.exists() else []


def _number(row: Row, name: str) -> float:
    value = row[name]
    assert isinstance(value, int | float)
    return float(value)
