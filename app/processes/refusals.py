"""Why does no engine come up? The supervisor knows, and callers ask front ends.

A file in the supervisor's folder: written when an engine refused to start, removed once one serves, read by front ends
while they have no engine.
"""

import contextlib
from pathlib import Path


def tell(runtime: Path, reason: str | None) -> None:
    """Front ends know `reason` from now on, or that there is none."""
    file = _file(runtime)
    with contextlib.suppress(OSError):  # no room: callers hear that the engine is starting, the log has the reason
        if reason is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(reason, encoding="utf-8")


def read(runtime: Path) -> str | None:
    """The reason, if there is one."""
    try:
        return _file(runtime).read_text(encoding="utf-8") or None  # empty: it is just being written
    except OSError:  # the usual case: nobody refused
        return None


def _file(runtime: Path) -> Path:
    return runtime / "refusal"
