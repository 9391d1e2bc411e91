"""Which plans did an engine die of?

A plan is written down before it is tried and crossed out when its try has ended, unless the device went with it: what
stays are deaths. One may have been somebody's Ctrl-C, so it takes two of them. Each engine has a file of its own for
each model version; what cannot be written down stops nothing.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.engine.cuda_errors import DeviceLostError
from app.types import ModelKey

log = logging.getLogger(__name__)

DEADLY = 2  # deaths after which a plan is left out

Try = tuple[str, int]  # a plan, and the process that tries it


class Attempts:
    """The tries of one engine at one model, in a small file that outlives it; without a path nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def deadly(self) -> list[str]:
        """The plans to leave out. To be asked before a try of this process, never during one."""
        deaths = Counter(plan for plan, pid in self._read() if not _is_under_way(pid))
        return [plan for plan, count in deaths.items() if count >= DEADLY]

    @contextmanager
    def of(self, plan: str) -> Iterator[None]:
        """Written down before; crossed out after, unless the device is lost."""
        self._write([*self._read(), (plan, os.getpid())])
        try:
            yield
        except DeviceLostError:
            raise
        except BaseException:
            self._cross_out(plan)
            raise
        self._cross_out(plan)

    def _cross_out(self, plan: str) -> None:
        # Read anew: another service with the same models may have written meanwhile, and its try is its own.
        self._write([each for each in self._read() if each[0] != plan or _is_under_way(each[1])])

    def _read(self) -> list[Try]:
        if self._path is None:
            return []
        try:
            return [(str(plan), int(pid)) for plan, pid in json.loads(self._path.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError):  # none yet, or none of ours
            return []

    def _write(self, tries: list[Try]) -> None:
        if self._path is None:
            return
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(tries), encoding="utf-8")
            partial.replace(self._path)
        except OSError as error:
            log.warning("%s cannot be written (%s): a plan that kills an engine is tried again", self._path, error)
            self._path = None


def open_attempts(folders: Sequence[Path], key: ModelKey, engine: int) -> Attempts:
    """The file of engine number `engine` for this model, in the first of `folders` that can be written."""
    for folder in folders:
        if _can_write(folder):
            return Attempts(folder / f"{key}.engine-{engine}.attempts.json")
        log.warning("%s cannot be written: the plans that an engine dies of are not kept there", folder)
    return Attempts()


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _is_under_way(pid: int) -> bool:
    """Whether another process, one that lives, tries a plan. Our own id is that of who began anew with it."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:  # somebody else's, and alive
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
