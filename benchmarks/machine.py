"""On which machine, with which versions and from which commit was this measured?"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.schema import Machine, Origin

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "encodery",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tokenizers",
    "numpy",
    "fastapi",
    "uvicorn",
    "httptools",
    "zttp",
    "torch",
    "transformers",
)
OWN_OUTPUT = (
    ":!benchmarks/results",
    ":!docs/benchmarks.md",
    ":!docs/quality.md",
)  # what a benchmark writes does not make a tree dirty


def origin(arguments: Sequence[str]) -> Origin:
    """Everything a result file says about where it comes from."""
    return Origin(
        machine=machine(),
        versions={"python": platform.python_version()} | _versions(),
        commit=head(),
        dirty=bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", *OWN_OUTPUT)),
        command=" ".join(["python", "-m", "benchmarks", *arguments]),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        settings={name: value for name, value in sorted(os.environ.items()) if name.startswith("ENCODERY_")},
    )


def head() -> str:
    """The commit that is checked out."""
    return _git("rev-parse", "HEAD") or "unknown"


def machine() -> Machine:
    """This machine. Cores are those this process may use."""
    return Machine(
        cpu=_first(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.release()}, {sys.implementation.name}",
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # one of the two ONNX Runtimes always, others at times
            continue
    return found


def _git(*arguments: str) -> str:
    """What git says, or nothing where there is no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _first(path: Path, pattern: str) -> str | None:
    found = re.search(pattern, path.read_text(encoding="utf-8")) if path.exists() else None
    return found[1].strip() if found else None
